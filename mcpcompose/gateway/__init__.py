"""The one endpoint that every client connects to."""
