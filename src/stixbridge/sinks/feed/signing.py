"""A signature of a feed folder: `SHA256SUMS` of all its files, and `SHA256SUMS.asc` by GnuPG.

Check it with `gpg --verify SHA256SUMS.asc` and `sha256sum --check SHA256SUMS`. MISP itself looks at
neither.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from stixbridge.errors import ConfigError, ServerError
from stixbridge.sinks.folder import write_atomically

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.asc"
_SECONDS = 60


class Signer:
    """Signs a folder with a key of the user's GnuPG.

    Args (of the constructor):
        key: id, fingerprint or e-mail address of a secret key that needs no passphrase, or whose
            agent has it.
        home: GnuPG's folder; its own default when None.

    Raises:
        ConfigError: when there is no GnuPG, or no such key.
    """

    def __init__(self, key: str, home: Path | None = None) -> None:
        self.key = key
        self._home = ["--homedir", str(home.expanduser())] if home is not None else []
        if shutil.which("gpg") is None:
            raise ConfigError(
                "sign: gpg is not installed; install GnuPG (apt-get install gnupg), or leave"
                " sign out"
            )
        if key.startswith("-"):
            raise ConfigError(
                f"sign: {key!r} is not a key; write its id, fingerprint or e-mail address"
            )
        self._gpg("--list-secret-keys", "--", key)

    def sign(self, folder: Path, touched: Iterable[str]) -> None:
        """Bring the checksums up to date, and sign them where they changed.

        They are signed as well where the last signature was interrupted.

        Args:
            folder: of the feed.
            touched: names of files that were written.

        Raises:
            ServerError: when GnuPG fails now; what was written is delivered in the next run.
        """
        try:
            self._sign(folder, touched)
        except ConfigError as error:
            raise ServerError(str(error)) from None

    def _sign(self, folder: Path, touched: Iterable[str]) -> None:
        sums = _read(folder / SUMS)
        names = {path.name for path in folder.glob("*") if path.suffix in (".json", ".csv")}
        wanted = {name: sums[name] for name in names & sums.keys() - set(touched)}
        always = names & {"manifest.json", "hashes.csv"}
        for name in (names - wanted.keys()) | always:
            wanted[name] = sha256((folder / name).read_bytes()).hexdigest()
        if wanted == sums and (folder / SIGNATURE).exists():
            return
        (folder / SIGNATURE).unlink(missing_ok=True)  # none is better than one of other sums
        text = "".join(f"{wanted[name]}  {name}\n" for name in sorted(wanted))
        write_atomically(folder / SUMS, text.encode())
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / SIGNATURE
            self._gpg(
                "--local-user",
                self.key,
                "--armor",
                "--output",
                str(made),
                "--detach-sign",
                str(folder / SUMS),
            )
            write_atomically(folder / SIGNATURE, made.read_bytes())

    def _gpg(self, *arguments: str) -> None:
        import subprocess  # a folder without a signature needs none

        command = ["gpg", "--batch", "--no-tty", *self._home, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"sign: gpg failed: {error}") from None
        if done.returncode:
            errors = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [
                "no reason given"
            ]
            raise ConfigError(
                f"sign: gpg can't use the key {self.key!r}: {errors[0]}; see gpg --list-secret-keys"
            )


def unsign(folder: Path) -> None:
    """Take checksums and signature away: none are better than those of an older state."""
    for name in (SUMS, SIGNATURE):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, str]:
    """Name -> checksum."""
    if not path.exists():
        return {}
    lines = (line.split("  ", 1) for line in path.read_text("utf-8", "replace").splitlines())
    return {row[1]: row[0] for row in lines if len(row) == 2}
