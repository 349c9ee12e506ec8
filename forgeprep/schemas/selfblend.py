"""What self-blended images are called, wherever they are made: by the stage ``selfblend``, or while training."""

from __future__ import annotations

METHOD, FORGERY, FAMILY = "SelfBlended", "identity_remained", "graphics"


def blend_clip_id(clip_id: str) -> str:
    """The clip of the blends of a real clip.

    >>> blend_clip_id("ffpp/c23/youtube/071"), blend_clip_id("folder/talk")
    ('ffpp/c23/SelfBlended/youtube/071', 'folder/SelfBlended/talk')
    """
    parts = clip_id.split("/")
    at = max(1, len(parts) - 2)
    return "/".join([*parts[:at], METHOD, *parts[at:]])
