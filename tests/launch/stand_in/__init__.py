"""Stand-ins for gcloud and for what a TPU VM has."""
