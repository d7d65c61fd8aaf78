"""Write the documents: `python -m harness.asyncapi`."""

from __future__ import annotations

from harness.asyncapi.files import files

if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
