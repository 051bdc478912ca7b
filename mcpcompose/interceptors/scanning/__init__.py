"""Finding secrets in text: rules written from what vendors publish about their tokens, and what scans by them."""
