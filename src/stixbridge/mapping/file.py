"""STIX 2.1, section 6.7 with its five extensions.

A name beside a hash is context: only hashes select.
"""

from stixbridge.ledger import Reason
from stixbridge.mapping.hashes import HASHES, UNCOMMON, hash_fields
from stixbridge.mapping.tables import Composite, Field, Part, Role, Table
from stixbridge.misp.values import COMPOSITES

_NO_RELATION = frozenset({"pehash", "cdhash"})
_NO_RELATION_OF_SECTIONS = UNCOMMON | {"sha3-224", "sha3-256", "sha3-384", "sha3-512", "tlsh"}
_PE = "extensions.windows-pebinary-ext"
_OPTIONAL = (
    "major_linker_version", "minor_linker_version", "size_of_code", "size_of_initialized_data",
    "size_of_uninitialized_data", "base_of_code", "base_of_data", "image_base",
    "section_alignment", "file_alignment",
    "major_os_version", "minor_os_version", "major_image_version", "minor_image_version",
    "major_subsystem_version",
    "minor_subsystem_version", "size_of_image", "size_of_headers", "dll_characteristics_hex",
    "size_of_stack_reserve",
    "size_of_stack_commit", "size_of_heap_reserve", "size_of_heap_commit", "loader_flags_hex",
)  # fmt: skip
# where the relation of `pe-optional-header` is not the STIX name with hyphens
_RENAMED = {
    "size_of_initialized_data": "size-of-initialised-data",
    "size_of_uninitialized_data": "size-of-uninitialised-data",
    "loader_flags_hex": "loader-flags",
}

TABLE = Table(
    "file",
    Role.OBSERVABLE,
    template="file",
    fields={
        "name": Field("filename", "filename"),
        **hash_fields(_NO_RELATION),
        "size": Field(None, "size-in-bytes"),
        "mime_type": Field("mime-type", "mimetype"),
        "name_enc": Field(None, "file-encoding"),
        "magic_number_hex": Field(None, "magic"),
        "ctime": Field(None, "creation-time"),
        "mtime": Field(None, "modification-time"),
        "atime": Field(None, "access-time"),
        "parent_directory_ref.path": Field(None, "path"),
        f"{_PE}.imphash": Field("imphash", "imphash", selects=True),
        "extensions.ntfs-ext.sid": Field(None, comment="NTFS SID"),
        "extensions.archive-ext.comment": Field(None, comment="archive"),
        "extensions.pdf-ext.version": Field(None, comment="PDF version"),
        "extensions.pdf-ext.is_optimized": Field(None, comment="optimized PDF"),
        "extensions.pdf-ext.document_info_dict.*": Field(None, comment="PDF"),
        "extensions.pdf-ext.pdfid0": Field(None, comment="PDF id 0"),
        "extensions.pdf-ext.pdfid1": Field(None, comment="PDF id 1"),
        "extensions.raster-image-ext.image_height": Field(None, comment="height of the image"),
        "extensions.raster-image-ext.image_width": Field(None, comment="width of the image"),
        "extensions.raster-image-ext.bits_per_pixel": Field(None, comment="bits per pixel"),
    },
    parts={
        _PE: Part(
            "pe",
            "includes",
            {
                "imphash": Field("imphash", "imphash", selects=True),
                "pe_type": Field(None, "type"),
                "machine_hex": Field(None, "machine-type-hex"),
                "number_of_sections": Field(None, "number-sections"),
                "time_date_stamp": Field(None, "compilation-timestamp"),
                "pointer_to_symbol_table_hex": Field(None, "pointer-to-symbol-table"),
                "number_of_symbols": Field(None, "number-of-symbols"),
                "size_of_optional_header": Field(None, "size-of-optional-header"),
                "characteristics_hex": Field(None, "characteristics-hex"),
                "optional_header.address_of_entry_point": Field(None, "entrypoint-address"),
            },
        ),
        f"{_PE}.optional_header": Part(
            "pe-optional-header",
            "includes",
            {
                "magic_hex": Field(None, "magic-hex"),
                "checksum_hex": Field(None, "checksum"),
                "number_of_rva_and_sizes": Field(None, "number-of-rva-and-size"),
                "subsystem_hex": Field(None, "subsystem-hex"),
                "win32_version_value_hex": Field(None, "win32-version-value"),
                **{
                    name: Field(None, _RENAMED.get(name, name.replace("_", "-")))
                    for name in _OPTIONAL
                },
            },
        ),
        f"{_PE}.sections[*]": Part(
            "pe-section",
            "includes",
            {
                "name": Field(None, "name"),
                "size": Field(None, "size-in-bytes"),
                "entropy": Field(None, "entropy"),
                **hash_fields(_NO_RELATION_OF_SECTIONS),
            },
        ),
        "extensions.ntfs-ext.alternate_data_streams[*]": Part(
            "file",
            "contains",
            {
                "name": Field("filename", "filename"),
                "size": Field("size-in-bytes", "size-in-bytes"),
                **hash_fields(_NO_RELATION),
            },
        ),
        "extensions.raster-image-ext.exif_tags": Part(
            "exif",
            "includes",
            {
                "Make": Field(None, "make"),
                "Model": Field(None, "model"),
                "Artist": Field(None, "artist"),
                "Copyright": Field(None, "copyright"),
                "Software": Field(None, "software"),
                "ImageDescription": Field(None, "image-description"),
                "UserComment": Field(None, "user-comment"),
                "Orientation": Field(None, "orientation"),
                "ExposureTime": Field(None, "exposure-time"),
                "LensModel": Field(None, "lens-model"),
            },
        ),
    },
    composites=tuple(
        Composite(f"filename|{misp}", "name", f"hashes.{name}")
        for name, misp in HASHES.items()
        if f"filename|{misp}" in COMPOSITES
    ),
    guards=frozenset({"parent_directory_ref.type"}),
    properties={"content_ref": "relationship has-content"},
    links={
        "contains_refs": "contains",
        "content_ref": "has-content",
        "extensions.archive-ext.contains_refs": "contains",
    },
    unmapped={"extensions.windows-pebinary-ext.file_header_hashes": Reason.NO_PLACE},
)
