"""Sentences to try a trio on."""

from __future__ import annotations

# Strings as software has them, none of which the bundled trio was trained on.
SENTENCES = (
    "Add a New Printer",
    "Choose the application to use",
    "Use the system default fonts.",
    "Could not save the document.",
    "Check your network connection and try again.",
    "Not enough stack memory.",
)

# Translations to show the bundled trio before them, English to Uyghur; written for this.
EXEMPLARS = (
    ("Could not open the file", "ھۆججەتنى ئاچقىلى بولمىدى"),
    ("Enter your password", "ئىمىڭىزنى كىرگۈزۈڭ"),
    ("Show hidden files", "يوشۇرۇن ھۆججەتلەرنى كۆرسەت"),
    ("Connection failed", "باغلىنىش مەغلۇپ بولدى"),
    ("Delete the selected files", "تاللانغان ھۆججەتلەرنى ئۆچۈر"),
)
