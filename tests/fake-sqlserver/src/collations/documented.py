"""Writes documented.tsv: every collation that SQL Server documents, by name, with its bytes on the wire, its code page, and
text in that code page as Python's codecs have it.

Names and versions: "Windows Collation Name" and "SQL Server Collation Name" of the T-SQL reference. LCIDs, sort ids and code
pages: SQL Server's own maps as Microsoft publishes them in its drivers (JDBC: SQLCollation.SortOrder; ODBC: x_rgLocaleMap).
"""

import pathlib

# The designators of each version; 80 is not part of the name.
VERSIONS = {
    80: """
        Albanian 041c 1250, Arabic 0401 1256, Chinese_PRC 0804 936, Chinese_PRC_Stroke 20804 936, Chinese_Taiwan_Bopomofo 30404 950,
        Chinese_Taiwan_Stroke 0404 950, Croatian 041a 1250, Cyrillic_General 0419 1251, Czech 0405 1250, Danish_Norwegian 0406 1252,
        Estonian 0425 1257, Finnish_Swedish 040b 1252, French 040c 1252, Georgian_Modern_Sort 10437 1252, German_PhoneBook 10407 1252,
        Greek 0408 1253, Hebrew 040d 1255, Hungarian 040e 1250, Hungarian_Technical 1040e 1250, Icelandic 040f 1252, Japanese 0411 932,
        Japanese_Unicode 10411 932, Korean_Wansung 0412 949, Korean_Wansung_Unicode 10412 949, Latin1_General 0409 1252,
        Latvian 0426 1257, Lithuanian 0427 1257, Lithuanian_Classic 0827 1257, Macedonian 042f 1251, Modern_Spanish 0c0a 1252,
        Polish 0415 1250, Romanian 0418 1250, Slovak 041b 1250, Slovenian 0424 1250, Thai 041e 874, Traditional_Spanish 040a 1252,
        Turkish 041f 1254, Ukrainian 0422 1251, Vietnamese 042a 1258""",
    90: """
        Azeri_Cyrillic 082c 1251, Azeri_Latin 042c 1254, Chinese_Hong_Kong_Stroke 0c04 950, Kazakh 043f 1251, Korean 0412 949,
        Macedonian_FYROM 042f 1251, Tatar 0444 1251, Uzbek_Latin 0443 1254""",
    100: """
        Bashkir 046d 1251, Bosnian_Cyrillic 201a 1251, Bosnian_Latin 141a 1250, Breton 047e 1252, Chinese_Simplified_Pinyin 0804 936,
        Chinese_Simplified_Stroke_Order 20804 936, Chinese_Traditional_Bopomofo 30404 950, Chinese_Traditional_Pinyin 1404 950,
        Chinese_Traditional_Stroke_Count 0404 950, Chinese_Traditional_Stroke_Order 21404 950, Corsican 0483 1252,
        Danish_Greenlandic 0406 1252, Dari 048c 1256, Frisian 0462 1252, Japanese_Bushu_Kakusu 40411 932, Japanese_XJIS 0411 932,
        Mapudungan 047a 1252, Mohawk 047c 1252, Norwegian 0414 1252, Persian 0429 1256, Romansh 0417 1252, Sami_Norway 043b 1252,
        Sami_Sweden_Finland 083b 1252, Serbian_Cyrillic 0c1a 1251, Serbian_Latin 081a 1250, Tamazight 085f 1252, Turkmen 0442 1250,
        Uighur 0480 1256, Upper_Sorbian 042e 1252, Urdu 0420 1256, Welsh 0452 1252, Yakut 0485 1251""",
}
SQL = """
    30 Latin1_General_CP437_BIN, 31 Latin1_General_CP437_CS_AS, 32 Latin1_General_CP437_CI_AS, 33 Latin1_General_Pref_CP437_CI_AS,
    34 Latin1_General_CP437_CI_AI, 35 Latin1_General_CP437_BIN2, 40 Latin1_General_CP850_BIN, 41 Latin1_General_CP850_CS_AS,
    42 Latin1_General_CP850_CI_AS, 43 Latin1_General_Pref_CP850_CI_AS, 44 Latin1_General_CP850_CI_AI, 45 Latin1_General_CP850_BIN2,
    49 1xCompat_CP850_CI_AS, 51 Latin1_General_CP1_CS_AS, 52 Latin1_General_CP1_CI_AS, 53 Latin1_General_Pref_CP1_CI_AS,
    54 Latin1_General_CP1_CI_AI, 55 AltDiction_CP850_CS_AS, 56 AltDiction_Pref_CP850_CI_AS, 57 AltDiction_CP850_CI_AI,
    58 Scandinavian_Pref_CP850_CI_AS, 59 Scandinavian_CP850_CS_AS, 60 Scandinavian_CP850_CI_AS, 61 AltDiction_CP850_CI_AS,
    81 Latin1_General_CP1250_CS_AS, 82 Latin1_General_CP1250_CI_AS, 83 Czech_CP1250_CS_AS, 84 Czech_CP1250_CI_AS,
    85 Hungarian_CP1250_CS_AS, 86 Hungarian_CP1250_CI_AS, 87 Polish_CP1250_CS_AS, 88 Polish_CP1250_CI_AS, 89 Romanian_CP1250_CS_AS,
    90 Romanian_CP1250_CI_AS, 91 Croatian_CP1250_CS_AS, 92 Croatian_CP1250_CI_AS, 93 Slovak_CP1250_CS_AS, 94 Slovak_CP1250_CI_AS,
    95 Slovenian_CP1250_CS_AS, 96 Slovenian_CP1250_CI_AS, 105 Latin1_General_CP1251_CS_AS, 106 Latin1_General_CP1251_CI_AS,
    107 Ukrainian_CP1251_CS_AS, 108 Ukrainian_CP1251_CI_AS, 113 Latin1_General_CP1253_CS_AS, 114 Latin1_General_CP1253_CI_AS,
    120 MixDiction_CP1253_CS_AS, 121 AltDiction_CP1253_CS_AS, 122 AltDiction2_CP1253_CS_AS, 124 Latin1_General_CP1253_CI_AI,
    129 Latin1_General_CP1254_CS_AS, 130 Latin1_General_CP1254_CI_AS, 137 Latin1_General_CP1255_CS_AS, 138 Latin1_General_CP1255_CI_AS,
    145 Latin1_General_CP1256_CS_AS, 146 Latin1_General_CP1256_CI_AS, 153 Latin1_General_CP1257_CS_AS, 154 Latin1_General_CP1257_CI_AS,
    155 Estonian_CP1257_CS_AS, 156 Estonian_CP1257_CI_AS, 157 Latvian_CP1257_CS_AS, 158 Latvian_CP1257_CI_AS,
    159 Lithuanian_CP1257_CS_AS, 160 Lithuanian_CP1257_CI_AS, 183 Danish_Pref_CP1_CI_AS, 184 SwedishPhone_Pref_CP1_CI_AS,
    185 SwedishStd_Pref_CP1_CI_AS, 186 Icelandic_Pref_CP1_CI_AS, 210 EBCDIC037_CP1_CS_AS, 211 EBCDIC273_CP1_CS_AS,
    212 EBCDIC277_CP1_CS_AS, 213 EBCDIC278_CP1_CS_AS, 214 EBCDIC280_CP1_CS_AS, 215 EBCDIC284_CP1_CS_AS, 216 EBCDIC285_CP1_CS_AS,
    217 EBCDIC297_CP1_CS_AS"""
TEXTS = {932: "日本語 ﾃｽﾄ ①髙～", 936: "中文测试〇", 949: "한국어 똠방각하", 950: "繁體中文碁"}
# Case, width and kana do not count, as in …_CI_AS; the version stands in the highest four bits.
FLAGS = 0x00D00000


def sample(page):
    """Every byte from 80 on that is a character by itself, or some text."""
    codec = {936: "gbk"}.get(page, f"cp{page}")
    if page in TEXTS:
        return TEXTS[page].encode(codec), TEXTS[page]
    text = bytes(range(0x80, 0x100)).decode(codec, "ignore")
    return text.encode(codec), text


def entries(text):
    return [entry.split() for entry in text.replace("\n", " ").split(",")]


lines = []
for at, (version, designators) in enumerate(VERSIONS.items()):
    for name, lcid, page in entries(designators):
        suffix = "" if version == 80 else f"_{version}"
        info = int(lcid, 16) | FLAGS | at << 28
        lines.append((f"{name}{suffix}_CI_AS", info, 0, int(page)))
for sort_id, name in entries(SQL):
    page = int(next(part[2:] for part in name.split("_") if part[:2] == "CP"))
    lines.append((f"SQL_{name}", 0x0409 | FLAGS, int(sort_id), {1: 1252}.get(page, page)))
with open(pathlib.Path(__file__).with_suffix(".tsv"), "w", encoding="utf-8", newline="\n") as out:
    for name, info, sort_id, page in lines:
        raw, text = sample(page)
        wire = info.to_bytes(4, "little") + bytes([sort_id])
        print(name, wire.hex(), page, raw.hex(), text, sep="\t", file=out)
