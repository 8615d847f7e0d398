"""Views of images: random ones to train on, plain ones to evaluate."""

from medssl.data.views.engine import PlainViews, Views

__all__ = ["PlainViews", "Views"]
