"""Which tracks are one person's, over cuts."""

from __future__ import annotations

import numpy as np

from forgeprep.faces.appearance import Look, look_at
from forgeprep.faces.persons import SAME_PERSON, likeness, persons_of, thinned
from tests.conftest import UInt8, rgb_frame

FACE = (190.0, 70.0, 280.0, 190.0)


def _look(picture: UInt8, shift: float = 0.0) -> Look:
    x0, y0, x1, y1 = FACE
    return look_at(rgb_frame(picture), (x0 + shift, y0 - shift, x1 + shift, y1 - shift))


def test_tracks_are_joined_over_cuts_and_never_those_that_are_seen_together(face_photo: UInt8) -> None:
    here, again = _look(face_photo), _look((face_photo * 0.95).astype(np.uint8), 3)
    other = _look(np.ascontiguousarray(face_photo[::-1, ::-1] // 2))
    assert likeness([here], [again]) > SAME_PERSON > likeness([here], [other])
    looks = {0: [here], 3: [other, other], 5: [other, again], 7: [here]}
    assert persons_of(looks, set()) == dict.fromkeys((0, 3, 5, 7), 0)
    assert persons_of({0: [here], 3: [other], 5: [again]}, set()) == {0: 0, 3: 1, 5: 0}
    # 5 is as like 0 as 7 is, and beside 7.
    split = persons_of(looks, {(5, 7), (0, 3), (3, 7)})
    assert split[0] == split[7] != split[5] == split[3]
    assert persons_of({}, set()) == {}


def test_the_looks_of_a_long_track_are_spread(face_photo: UInt8) -> None:
    looks = [_look(face_photo, shift) for shift in range(20)]
    kept = [id(look) for look in thinned(looks, 3)]
    assert kept == [id(looks[place]) for place in (0, 10, 19)]
