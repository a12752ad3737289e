"""Whom we believe to be who they say: the TLS context of a registry."""

from __future__ import annotations

import os
import ssl

from mlkit.errors import UsageError
from mlkit.registry.connection import Connection


def tls_context(connection: Connection) -> ssl.SSLContext:
    """TLS 1.2 or later, the system's certificates and the files of the connection.

    Raises: UsageError naming the file that cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in connection.ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            raise UsageError(f"{path}: not a file of CA certificates: {_reason(error)}") from error
    if connection.cert is not None:
        try:
            # Without a password callback OpenSSL would ask on the terminal, and a CI job would hang.
            context.load_cert_chain(connection.cert, connection.key, password="")
        except OSError as error:
            raise UsageError(
                f"{connection.cert}: not a client certificate with its key: {_reason(error)}",
                hint="both in PEM, the key without a passphrase; --key names it where it is a file of its own",
            ) from error
    elif connection.key is not None:
        raise UsageError(f"{connection.key}: a key without a certificate", hint="name the certificate with --cert")
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "no PEM in it"
    return os.strerror(error.errno) if error.errno else "cannot be read"
