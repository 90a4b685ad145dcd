"""Sentences in twelve languages, made of a few words each: enough to train a tiny tokenizer on and to embed."""

from __future__ import annotations

import itertools
import random

PATTERNS = {
    "en": (
        "{0} {1} {2}.",
        ("The baker", "A pilot", "Our neighbour", "The old library"),
        ("cleans", "sells", "photographs", "remembers"),
        ("the lamp", "three letters", "a wooden boat", "the winter coat"),
    ),
    "de": (
        "{0} {1} {2}.",
        ("Die Bäckerin", "Ein Pilot", "Unser Nachbar", "Die Bücherei"),
        ("putzt", "verkauft", "fotografiert", "behält"),
        ("die Lampe", "drei Briefe", "ein Holzboot", "den Wintermantel"),
    ),
    "fr": (
        "{0} {1} {2}.",
        ("La boulangère", "Un pilote", "Notre voisin", "La bibliothèque"),
        ("nettoie", "vend", "photographie", "garde"),
        ("la lampe", "trois lettres", "un bateau en bois", "le manteau d'hiver"),
    ),
    "es": (
        "{0} {1} {2}.",
        ("La panadera", "Un piloto", "Nuestro vecino", "La biblioteca"),
        ("limpia", "vende", "fotografía", "guarda"),
        ("la lámpara", "tres cartas", "un barco de madera", "el abrigo"),
    ),
    "ru": (
        "{0} {1} {2}.",
        ("Пекарь", "Лётчик", "Наш сосед", "Библиотека"),
        ("чистит", "продаёт", "снимает", "хранит"),
        ("лампу", "три письма", "деревянную лодку", "зимнее пальто"),
    ),
    "uk": (
        "{0} {1} {2}.",
        ("Пекар", "Пілот", "Наш сусід", "Бібліотека"),
        ("чистить", "продає", "знімає", "зберігає"),
        ("лампу", "три листи", "дерев'яний човен", "зимове пальто"),
    ),
    "zh": (
        "{0}{1}{2}。",
        ("面包师", "飞行员", "我们的邻居", "老图书馆"),
        ("清洗", "出售", "拍摄", "保管"),
        ("台灯", "三封信", "一条木船", "冬天的大衣"),
    ),
    "ja": (
        "{0}は{2}を{1}。",
        ("パン屋さん", "操縦士", "隣の人", "古い図書館"),
        ("磨く", "売る", "撮影する", "預かる"),
        ("電灯", "三通の手紙", "木の舟", "冬の上着"),
    ),
    "ko": (
        "{0} {2} {1}.",
        ("제빵사가", "조종사가", "이웃이", "도서관이"),
        ("닦는다", "판다", "찍는다", "보관한다"),
        ("등불을", "편지 세 통을", "나무배를", "겨울 외투를"),
    ),
    "ar": (
        "{1} {0} {2}.",
        ("الخباز", "الطيار", "جارنا", "أمين المكتبة"),
        ("ينظف", "يبيع", "يصور", "يحفظ"),
        ("المصباح", "ثلاث رسائل", "قاربا خشبيا", "معطف الشتاء"),
    ),
    "hi": (
        "{0} {2} {1}।",
        ("बेकर", "पायलट", "हमारा पड़ोसी", "पुस्तकालय"),
        ("साफ़ करता है", "बेचता है", "देखता है", "रखता है"),
        ("दीपक", "तीन चिट्ठियाँ", "लकड़ी की नाव", "सर्दियों का कोट"),
    ),
    "tr": (
        "{0} {2} {1}.",
        ("Fırıncı", "Bir pilot", "Komşumuz", "Eski kütüphane"),
        ("temizliyor", "satıyor", "fotoğraflıyor", "saklıyor"),
        ("lambayı", "üç mektubu", "tahta kayığı", "kışlık paltoyu"),
    ),
}
"""A sentence with places for subject, verb and object, then four of each."""


def sentences(language: str) -> list[str]:
    """The 64 sentences of a language, in an order that is mixed but always the same."""
    sentence, *words = PATTERNS[language]
    made = [sentence.format(*chosen) for chosen in itertools.product(*words)]
    random.Random(language).shuffle(made)
    return made


def mixed_lengths() -> list[str]:
    """Texts of every language: one word, one sentence, and as many sentences as make a page; 36 in all."""
    texts = []
    for place, language in enumerate(PATTERNS):
        made = sentences(language)
        texts += [made[0].split()[0][:6], made[1], " ".join(made[: 5 + 2 * place])]
    return texts
