"""Cloud TPU VMs, by gcloud."""
