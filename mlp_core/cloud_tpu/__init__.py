"""Training jobs on Cloud TPU VMs, through gcloud. Imports no JAX: it runs on a laptop."""
