"""``medssl embed``: compute features of images with a trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medssl.cli.options import PATH, bad_image_option, device_option, shown_path, verify_option
from medssl.errors import OptionError

__all__ = ["embed"]


@click.command()
@click.argument("encoder", type=PATH)
@click.argument("images", type=PATH, nargs=-1, required=True)
@click.option("--output", type=PATH, default="features.npz", show_default=True, help="A .npz or .csv file.")
@device_option
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@bad_image_option
@verify_option
def embed(encoder: Path, images: tuple[Path, ...], output: Path, on_bad_image: Any, **words: Any) -> None:
    """Compute features of IMAGES (files or folders) with ENCODER: the folder of a run, or its encoder.safetensors.

    The .npz file contains `x`, one row of features per image, and `path`. The .csv file contains a column of paths and
    one column per feature. A path that you give is written as you give it; of an absolute one, only the part below the
    folder. In folders, hidden files are left out. Only you can read the file (mode 0600).
    """
    if output.suffix not in (".npz", ".csv"):
        raise OptionError(
            f"--output {output} has an unknown suffix. Features are written as .npz or .csv. Use one of these suffixes."
        )
    from medssl.io.files import require_writable

    require_writable(output)
    import numpy as np

    from medssl.cli.display import reading_images
    from medssl.export import embedding
    from medssl.export.images import find_images

    trained = embedding.load_encoder(encoder)
    paths = find_images(images, trained.readers())
    with reading_images("the features are computed") as progress:
        x = embedding.embed(trained, paths, on_bad_image=on_bad_image, progress=progress, **words)
    read = ~np.isnan(x).all(axis=1) | (on_bad_image == "fail")
    x = x[read]
    named = zip(embedding.relative_names(images, paths), read, strict=True)
    _write(output, [name for name, there in named if there], x)
    click.echo(f"{len(x)} images, {x.shape[1]} features", err=True)
    click.echo(shown_path(output))


def _write(output: Path, paths: list[str], x: Any) -> None:
    import numpy as np

    from medssl.io.files import write_atomic, write_atomic_with
    from medssl.io.plain_text import table_text

    if output.suffix == ".npz":
        write_atomic_with(output, lambda file: np.savez(file, x=x, path=np.array(paths)), private=True)
        return
    header = ["path", *(f"feature_{i}" for i in range(x.shape[1]))]
    text = table_text([header, *([path, *values] for path, values in zip(paths, x.tolist(), strict=True))])
    write_atomic(output, text.encode(errors="surrogateescape"), private=True)
