"""THE PERSON. Parses arguments, calls one function of the API, renders the result."""
