"""Networks that are no VGG classifier, known by the names that their authors gave to layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

# what a key matches -> what the file is
_KNOWN = [
    (re.compile(pattern), what)
    for pattern, what in (
        (r"(^|\.)lin\d\.(model\.\d\.)?weight$|(^|\.)net\.slice\d\.", "LPIPS, a measure of how alike two pictures look"),
        (r"(^|\.)(loc|conf)(_layers?|idence)?\.\d+\.weight$", "an SSD detector, which finds objects in boxes"),
        (r"(^|\.)(rpn|roi_heads|bbox_head|rpn_head)\.", "a detector of objects in boxes"),
        (r"(^|\.)(score_fr|upscore\w*|score_pool\d)\.", "an FCN, which segments pictures"),
        (
            r"(^|\.)(decoder|decode_head|up\d|upconv\d*|deconv\d*)\.",
            "a network with a decoder, which segments pictures",
        ),
        (r"(^|\.)layer\d\.\d+\.(conv\d|downsample)\.", "a ResNet"),
        (r"(^|\.)denseblock\d\.", "a DenseNet"),
        (r"(^|\.)(Mixed_\d\w|inception\d\w)\.", "an Inception network"),
        (r"(^|\.)features\.\d+\.(squeeze|expand\dx\d)\.", "a SqueezeNet"),
        (r"(^|\.)(fire\d)\.", "a SqueezeNet"),
        (r"(^|\.)(attn|attention|self_attn|self_attention)\.", "a transformer"),
        (r"(^|\.)(conv_dw|conv_pw|depthwise|pointwise|se\.fc\d|_se_reduce)\.", "a MobileNet or EfficientNet"),
        (r"(^|\.)(lstm|gru|rnn)\w*\.weight_ih_l\d", "a network with recurrent layers"),
    )
]


def name(keys: Iterable[str]) -> str | None:
    """What the file is, as in "a ResNet"; None when nothing in it is known."""
    found = list(keys)
    return next((what for pattern, what in _KNOWN if any(pattern.search(key) for key in found)), None)
