"""Loading of BERT and run weights, and their adaptation to a model."""
