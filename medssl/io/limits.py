"""The limits of everything that is read from outside; ``docs/reference/limits.md`` lists them with their reasons.

Each kind of input is checked against its limits in one place: texts and arrays in :mod:`medssl.io.reading`, archives in
:mod:`medssl.tools.unpacking`, downloads in :mod:`medssl.tools.downloading`, images in :mod:`medssl.tools.images` and
weights in :mod:`medssl.tools.weights`.
"""

from __future__ import annotations

__all__ = [
    "ARCHIVE_BYTES",
    "ARCHIVE_FACTOR",
    "ARCHIVE_FREE",
    "ARCHIVE_MEMBERS",
    "ARRAY_BYTES",
    "DEFLATE_FACTOR",
    "DOWNLOAD_BYTES",
    "DOWNLOAD_FREE",
    "HEADER_BYTES",
    "IMAGE_BYTES",
    "IMAGE_FREE",
    "IMAGE_PIXELS",
    "JSON_BYTES",
    "LATEST_DATE",
    "NAME_BYTES",
    "NUMBER_CHARACTERS",
    "PATH_BYTES",
    "PATH_DEPTH",
    "PIXELS_PER_BYTE",
    "TABLE_BYTES",
    "TABLE_ROWS",
    "TEXT_DEPTH",
    "WAIT_SECONDS",
    "WEIGHT_BYTES",
    "YAML_BYTES",
    "YAML_NODES",
]

# ------------------------------------------------------------------------------------------------------------- texts
JSON_BYTES = 2**28  # the header of a store of a million images has about 120 MB
YAML_BYTES = 2**20  # medssl's own catalogue, the longest YAML file, has less than a tenth
YAML_NODES = 50_000  # values, with every alias counted as what it stands for
TEXT_DEPTH = 64  # lists and mappings inside each other; a recipe has five
NUMBER_CHARACTERS = 4096  # of one unquoted YAML value: YAML reads 1:2:3 as a number to base 60, in quadratic time
TABLE_BYTES = 2**30  # a table of a million rows has about 100 MB; of a workbook: unpacked
TABLE_ROWS = 10_000_000  # a Parquet file of a few bytes can have any number of equal rows
"""Rows that a table may have."""

# ------------------------------------------------------------------------------------------------------------ arrays
ARRAY_BYTES = 2**36  # all arrays of one file: features of 8 million images of 2,048 numbers
DEFLATE_FACTOR = 1100  # deflate makes a text at most 1,032 times as small (zlib's technical notes)

# ----------------------------------------------------------------------------------------------------------- weights
WEIGHT_BYTES = 2**34  # 4 billion float32 parameters; ViT-g, the largest common image encoder, has 1 billion
HEADER_BYTES = 2**26  # of a safetensors file: medssl writes 120 bytes for each image that an encoder was trained on

# ------------------------------------------------------------------------------------------------------------ images
IMAGE_BYTES = 2**31  # a file; a whole slide has to be cut into tiles first
IMAGE_PIXELS = 2**30  # 32,768 x 32,768, six times the limit of Pillow itself
IMAGE_FREE = 2**26  # up to so many pixels (200 MB in colour) an image may be as small a file as it likes
PIXELS_PER_BYTE = 100  # above: an empty slide as JPEG has about 40 pixels in a byte, a bomb has thousands

# ---------------------------------------------------------------------------------------------- archives and downloads
ARCHIVE_BYTES = 2**40  # unpacked
ARCHIVE_FREE = 2**28  # up to so many bytes unpacked, an archive may be as small as it likes
ARCHIVE_FACTOR = 100  # above: unpacked bytes for each byte of the archive; images hardly shrink, tables ten times
ARCHIVE_MEMBERS = 5_000_000  # files and folders
NAME_BYTES = 255  # of a file's name, as in the usual file systems
PATH_BYTES = 4096
PATH_DEPTH = 64  # folders inside each other
DOWNLOAD_BYTES = 2**40  # of a file whose size is not published
DOWNLOAD_FREE = 2**24  # beyond the published size: enough to say how a wrong file differs
LATEST_DATE = 4_102_444_800  # 2100-01-01, in seconds: a later date of a server's file is ignored

# -------------------------------------------------------------------------------------------------------------- time
WAIT_SECONDS = 30.0  # after so long, a message says what is being waited for
