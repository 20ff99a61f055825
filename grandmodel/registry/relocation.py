"""A state folder that was moved or copied: MLflow and the ledger remember where it stood, here it is found again.

MLflow writes absolute artifact URIs into its database, and the ledger, which nobody rewrites, holds them too. A bundle
always lies at ``<artifact root>/<run>/artifacts/bundle``, so its last three parts say which one it is. What is found
there is compared with the hash in the ledger like any other bundle: a wrong guess is refused, not served.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_BUNDLE_PARTS = 3  # run, "artifacts", "bundle"
_URI_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def path_of(uri: str) -> Path | None:
    """Return the path of a ``file:`` URI; None for every other."""
    return Path(url2pathname(urlsplit(uri).path)) if uri.startswith("file://") else None


def uri_below(root_uri: str, uri: str) -> str:
    """Return where the bundle of ``uri`` lies now: below the root if its folder is there, else where ``uri`` says."""
    root, path = path_of(root_uri), path_of(uri)
    if root is None or path is None:
        return uri
    here = root.joinpath(*path.parts[-_BUNDLE_PARTS:])
    return here.as_uri() if here.is_dir() else uri


def relocate(database: Path, experiment: str, root_uri: str) -> bool:
    """Point MLflow's database at the root if bundles lie there; return whether anything had to be changed.

    One transaction. A database all of whose bundles stayed where they were is left alone; in others, runs and versions
    whose bundle is not below the root keep their address, under which it is missed by name.

    Args:
        database: MLflow's sqlite file, at rest.
        experiment: the one whose artifact location is the root as it was.
        root_uri: the artifact root as it is; one that is no folder has not moved.
    """
    now = root_uri
    if path_of(now) is None:
        return False
    with closing(sqlite3.connect(database)) as connection, connection:
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if row is None or row[0] == now or not row[0].startswith("file://"):
            return False
        (before,) = row
        sources = connection.execute("SELECT source FROM model_versions WHERE source LIKE 'file://%'").fetchall()
        staying = [uri for (uri,) in sources if not uri_below(root_uri, uri).startswith(f"{now}/")]
        if staying and len(staying) == len(sources):
            return False
        kept = [*staying, *(uri.rsplit("/", 1)[0] for uri in staying)]  # bundles, and the artefacts of their runs
        for table, column in _URI_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE instr({column} || '/', ?) = 1 AND {column} NOT IN ({', '.join('?' * len(kept))})",
                (now, len(before) + 1, f"{before}/", *kept),
            )
    return True
