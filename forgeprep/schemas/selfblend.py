"""What self-blended images are called, wherever they are made: by the stage ``selfblend``, or while training."""

from __future__ import annotations

METHOD, FORGERY, FAMILY = "SelfBlended", "identity_remained", "graphics"


def blend_clip_id(clip_id: str) -> str:
    """The clip of the blends of a real clip, in the place of a method's: exports take folders from it.

    >>> blend_clip_id("ffpp/c23/youtube/071"), blend_clip_id("folder/talk")
    ('ffpp/c23/SelfBlended/youtube__071', 'folder/SelfBlended/talk')
    """
    *before, folder, name = clip_id.split("/")
    # The folder stays a part of the name: reals of two folders may be called alike.
    return "/".join([*before, METHOD, f"{folder}__{name}"] if before else [folder, METHOD, name])
