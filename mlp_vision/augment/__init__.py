"""Image augmentation: crops, policies and mixing."""
