"""Which licence a text is, as an SPDX identifier. Nothing here does I/O."""

from __future__ import annotations

import re

# Looked for at the head of the text only: the GPL names the AGPL in its section 13.
_TITLES = (
    ("AGPL-3.0-only", r"gnu affero general public license version 3"),
    ("LGPL-3.0-only", r"gnu lesser general public license version 3"),
    ("LGPL-2.1-only", r"gnu lesser general public license version 2\.1"),
    ("GPL-3.0-only", r"gnu general public license version 3"),
    ("GPL-2.0-only", r"gnu general public license version 2"),
    ("Apache-2.0", r"apache license,? version 2\.0"),
    ("MPL-2.0", r"mozilla public license,? version 2\.0"),
    ("CC0-1.0", r"cc0 1\.0 universal"),
    ("CC-BY-NC-SA-4.0", r"attribution-noncommercial-sharealike 4\.0 international"),
    ("CC-BY-NC-ND-4.0", r"attribution-noncommercial-noderivatives 4\.0 international"),
    ("CC-BY-NC-4.0", r"attribution-noncommercial 4\.0 international"),
    ("CC-BY-ND-4.0", r"attribution-noderivatives 4\.0 international"),
    ("CC-BY-SA-4.0", r"attribution-sharealike 4\.0 international"),
    ("CC-BY-4.0", r"attribution 4\.0 international"),
)
_PHRASES = (
    ("BSD-3-Clause", r"redistributions of source code must retain.*neither the name"),
    ("BSD-2-Clause", r"redistributions of source code must retain"),
    ("MIT", r"permission is hereby granted, free of charge.*the above copyright notice and this permission notice"),
    ("MIT-0", r"permission is hereby granted, free of charge"),
    ("ISC", r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose"),
    ("Unlicense", r"this is free and unencumbered software released into the public domain"),
)
_HEAD = 1000  # characters; copyright lines may come before the title
_IDENTIFIER = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9][A-Za-z0-9.+-]{0,63})[ \t]*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*[\"']?([A-Za-z0-9.+-]{1,64})[\"']?[ \t]*\n")


def licence_of(text: str) -> str | None:
    """The SPDX identifier of a licence's text, None for one that is not among the common ones."""
    declared = _IDENTIFIER.search(text)
    if declared is not None:
        return declared[1]
    flat = re.sub(r"[\s*#=]+", " ", text).lower()
    for identifier, pattern in _TITLES:
        if re.search(pattern, flat[:_HEAD]):
            return identifier
    return next((identifier for identifier, pattern in _PHRASES if re.search(pattern, flat)), None)


def licence_of_card(text: str) -> str | None:
    """The licence that the YAML head of a model card names, if it is the identifier of a common one."""
    found = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if found is None:
        return None
    known = [identifier for identifier, _ in (*_TITLES, *_PHRASES)]
    # Model hubs write identifiers in lower case, and GPL-3.0 without "-only".
    names = {identifier.lower().removesuffix("-only"): identifier for identifier in known}
    return names.get(found[1].lower().removesuffix("-only"))
