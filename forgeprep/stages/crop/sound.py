"""What is known of a sample's sound, and of what is seen apart from it."""

from __future__ import annotations

from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Sample


def with_sound(samples: list[Sample], clip: Clip) -> list[Sample]:
    """Fill in ``visual_label`` and ``audio_label`` of a clip's samples, whose ``label`` says what is seen.

    Where the clip says that sound counts, a sample that looks real is a fake if its sound is forged.
    """
    for sample in samples:
        sample.audio_label = clip.audio_at(sample.frame_index)
        if clip.audio_only == "yes" or sample.label == 0:
            sample.visual_label = 0
        elif clip.audio_only == "maybe" and sample.compared is None:
            sample.visual_label = None
        else:
            sample.visual_label = 1
        if clip.audio_counts and sample.visual_label == 0:
            _call_by_sound(sample, clip)
    return samples


def _call_by_sound(sample: Sample, clip: Clip) -> None:
    forged = sample.audio_label == 1
    sample.label, sample.forgery = int(forged), "audio" if forged else "real"
    sample.method, sample.family = clip.method if forged else None, None
