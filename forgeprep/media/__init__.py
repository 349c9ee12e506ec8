"""From files to frames and back: decoding in guarded processes, planes as they were coded, colours, H.264."""
