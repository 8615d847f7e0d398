"""Views of images: random views for training, plain views for evaluation."""

from medssl.data.views.engine import PlainViews, Views

__all__ = ["PlainViews", "Views"]
