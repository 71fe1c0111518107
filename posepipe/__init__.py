"""posepipe: every plausible 3D pose behind a 2D image of a person, live, with honest uncertainty."""

__version__ = "0.1.0"
