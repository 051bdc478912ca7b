"""A server that does all that the conformance suite and our own tests ask of one, over HTTP and stdio, in both eras."""
