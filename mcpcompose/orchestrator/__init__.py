"""Compare what is declared with what runs, plan the difference, and carry it out."""
