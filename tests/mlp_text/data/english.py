"""English text that every Python carries, and text that is hard to split."""

import pydoc_data.topics

PARAGRAPHS = [
    " ".join(paragraph.split())
    for topic in pydoc_data.topics.topics.values()
    for paragraph in topic.split("\n\n")
    if paragraph.strip()
]
ODD = [
    "",
    " ",
    "   ",
    "  two  spaces  ",
    "tab\there",
    "a\r\nb",
    "line\nbreak",
    "ﬁne ﬂuid ½ ²",
    "Ｆｕｌｌｗｉｄｔｈ　ｓｐａｃｅ",
    "cafe\u0301 ÀÉÎ",
    "naïve — “quotes” … ‘x’",
    "日本語のテキスト 中文 한국어",
    "👩‍👩‍👧 emoji 🇩🇪 👍🏽",
    "العربية हिन्दी क्षि",
    "zero\u200bwidth\u00a0space\u00adsoft",
    "ΑΒΓ ß ŒŁ",
    "bell\u0007",
    "x" * 300,
    "http://www.example.com/a?b=c&d=1,000.50",
]
