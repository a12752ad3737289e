"""What the headers of weights tell about a model: read by hand, within limits; no library of machine learning."""
