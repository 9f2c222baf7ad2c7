"""The usual thresholds, in one place (spec 8)."""

SHOWN_CONFIDENCE = 0.25  # least score of a detection that a person is shown
EVALUATION_CONFIDENCE = 0.005  # low on purpose: average precision looks at the whole curve, also at its unsure end
NMS_IOU = 0.45  # of two boxes of one class that overlap by more, the less sure one is dropped
