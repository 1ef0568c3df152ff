"""The names that people give to the columns of examples, and what each of them is for.

A name counts in any case, in singular and plural, with blanks, dashes or underscores, with or without the colon of
Google AI Studio's prefixes ("input:"), and in the languages of the tuning guide: English, German, Turkish, Russian,
Hindi and Chinese.
"""

import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a column is for, by its name."""

    INPUT = "input"
    OUTPUT = "output"
    SYSTEM = "system"
    """A text that stands before the conversation."""
    CONTEXT = "context"
    """A text that an input may need, and may not."""
    INDEX = "index"
    """A number or a name of the example itself."""


# Turkish letters i stand without regard to their dots, which `plain` does not count either.
_WORDS: Mapping[Role, str] = {
    Role.INPUT: """
        text_input text_inputs input_text input_texts input inputs prompt prompts question questions query queries
        instruction instructions text texts user user_input request requests
        eingabe eingaben frage fragen anweisung anweisungen texte anfrage anfragen
        girdi girdiler giriş girişler istem istemler soru sorular metin metinler talimat talimatlar yönerge yönergeler
        ввод вход входы входные_данные запрос запросы промпт промпты подсказка подсказки вопрос вопросы инструкция
        инструкции текст тексты
        इनपुट प्रॉम्प्ट प्रश्न सवाल निर्देश टेक्स्ट पाठ
        输入 輸入 提示 提示词 提示詞 问题 問題 问 指令 文本
    """,
    Role.OUTPUT: """
        output outputs text_output text_outputs output_text output_texts completion completions answer answers response
        responses target targets label labels reply replies assistant expected_output target_text
        ausgabe ausgaben antwort antworten ziel ziele etikett etiketten vervollständigung vervollständigungen
        çikti çiktilar çikiş çikişlar yanit yanitlar cevap cevaplar hedef hedefler etiket etiketler tamamlama
        tamamlamalar
        вывод выводы выход выходы выходные_данные ответ ответы результат результаты цель цели метка метки завершение
        आउटपुट उत्तर जवाब प्रतिक्रिया लक्ष्य लेबल
        输出 輸出 回答 答案 回复 回復 响应 響應 目标 目標 标签 標籤 答 补全
    """,
    Role.SYSTEM: "system system_prompt system_instruction system_text system_message",
    Role.CONTEXT: """
        context contexts passage passages document documents background
        kontext kontexte bağlam контекст контексты संदर्भ 上下文
    """,
    Role.INDEX: """
        id ids uid uuid guid index idx no nr num number # key row row_id row_number line unnamed:_0
        nummer sira numara номер номера ид индекс क्रमांक 编号 序号 編號 序號
    """,
}

_GAP = re.compile(r"[\s_\-.]+|(?<=[a-z])(?=[A-Z])")
_ACCENTS = re.compile("[\u0300-\u036f]")


def role_of(name: str) -> Role | None:
    """What a column of this name is for; None if the name does not tell."""
    return _ROLES.get(plain(name)) if len(name) <= _LONGEST else None


def plain(name: str) -> str:
    """A name without what does not count: case, accents, and how its words are joined."""
    joined = _GAP.sub("_", name.strip().rstrip(":\uff1a").strip()).strip("_")
    letters = unicodedata.normalize("NFKD", joined.casefold())
    # Turkish has an i without a dot, which other languages' capital I becomes.
    return unicodedata.normalize("NFC", _ACCENTS.sub("", letters).replace("\u0131", "i"))


_LONGEST = 60
_ROLES = {plain(word): role for role, words in _WORDS.items() for word in words.split()}
