"""Views of images: crops, policies, mixing."""
