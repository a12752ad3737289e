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
_MORE_TITLES = (
    ("LGPL-2.0-only", r"gnu library general public license version 2"),
    ("EUPL-1.2", r"european union public licence v\. ?1\.2"),
    ("EPL-2.0", r"eclipse public license - v 2\.0"),
    ("BSL-1.0", r"boost software license - version 1\.0"),
    ("Artistic-2.0", r"the artistic license 2\.0"),
    ("CC-BY-3.0", r"attribution 3\.0 unported"),
    ("CC-BY-SA-3.0", r"attribution-sharealike 3\.0 unported"),
    ("ODbL-1.0", r"open database licen[cs]e \(odbl\)"),
    ("ODC-By-1.0", r"open data commons attribution licen[cs]e"),
    ("PDDL-1.0", r"public domain dedication and licen[cs]e|\bpddl\b"),
    ("CDLA-Permissive-2.0", r"community data license agreement - permissive - version 2\.0"),
    ("CDLA-Permissive-1.0", r"community data license agreement - permissive - version 1\.0"),
    ("CDLA-Sharing-1.0", r"community data license agreement - sharing - version 1\.0"),
    ("WTFPL", r"do what the fuck you want to public license"),
)
_PHRASES = (
    ("BSD-3-Clause", r"redistributions of source code must retain.*neither the name"),
    ("BSD-2-Clause", r"redistributions of source code must retain"),
    ("MIT", r"permission is hereby granted, free of charge.*the above copyright notice and this permission notice"),
    ("MIT-0", r"permission is hereby granted, free of charge"),
    ("ISC", r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose"),
    ("Zlib", r"this software is provided 'as-is', without any express or implied warranty.*plainly marked as such"),
    ("0BSD", r"permission to use, copy, modify, and(?:/or)? distribute.*with or without fee is hereby granted\. the"),
    ("Unlicense", r"this is free and unencumbered software released into the public domain"),
)
_HEAD = 1000  # characters; copyright lines may come before the title
# An identifier, or several with the operators of SPDX (annex D, "License expressions") but without brackets.
_ID = r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}"
_IDENTIFIER = re.compile(
    rf"SPDX-License-Identifier:[ \t]*({_ID}(?: (?:AND|OR|WITH) {_ID}){{0,7}})[ \t]*$", re.MULTILINE
)
_ALIASES = {
    "odc-by": "ODC-By-1.0",
    "odbl": "ODbL-1.0",
    "pddl": "PDDL-1.0",
    "cc-by-nc-sa-3.0": "CC-BY-NC-SA-3.0",
    "cc-by-nc-3.0": "CC-BY-NC-3.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "mit license": "MIT",
    "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "afl-3.0": "AFL-3.0",
    "ms-pl": "MS-PL",
    "osl-3.0": "OSL-3.0",
    "lgpl-lr": "LGPLLR",
    "ofl-1.1": "OFL-1.1",
    "gfdl": "GFDL-1.3-or-later",
}
"""How model hubs and headers call licences whose identifier is another, or whose text is not known here."""


def licence_of(text: str) -> str | None:
    """The SPDX identifier of a licence's text, None for one that is not among the common ones."""
    declared = _IDENTIFIER.search(text)
    if declared is not None:
        return declared[1]
    flat = re.sub(r"[\s*#=]+", " ", text).lower()
    for identifier, pattern in (*_TITLES, *_MORE_TITLES):
        if re.search(pattern, flat[:_HEAD]):
            return identifier
    return next((identifier for identifier, pattern in _PHRASES if re.search(pattern, flat)), None)


def spdx_of(name: str) -> str | None:
    """The identifier of a licence that a model card or a header names, None where it is not a common one."""
    known = [identifier for identifier, _ in (*_TITLES, *_MORE_TITLES, *_PHRASES)]
    # Model hubs write identifiers in lower case, and GPL-3.0 without "-only".
    names = {identifier.lower().removesuffix("-only"): identifier for identifier in known}
    wanted = name.lower().strip().removesuffix("-only")
    return names.get(wanted) or _ALIASES.get(wanted)
