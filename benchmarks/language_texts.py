"""Sentences of answers in many languages and scripts, written for the benchmark of the language gate."""

from __future__ import annotations

from typing import Final, NamedTuple


class Written(NamedTuple):
    """What answers are made of.

    Attributes:
        facts: two sentences.
        quoting: leads in a quotation.
        listing: leads in names, code or a list.
        short: a whole answer of one to five words.
    """

    facts: tuple[str, str]
    quoting: str
    listing: str
    short: str


WRITTEN: Final = {
    "en": Written(
        (
            "The pump has to be vented before it is started for the first time.",
            "Afterwards the pressure should stay stable for at least ten minutes.",
        ),
        "About this the manual of the manufacturer says the following:",
        "The following programs have to be installed beforehand:",
        "Before the first start.",
    ),
    "de": Written(
        (
            "Die Pumpe muss vor der ersten Inbetriebnahme entlüftet werden.",
            "Danach sollte der Druck mindestens zehn Minuten lang stabil bleiben.",
        ),
        "Dazu heißt es im Handbuch des Herstellers wörtlich:",
        "Die folgenden Programme müssen vorher installiert werden:",
        "Vor dem ersten Start.",
    ),
    "fr": Written(
        (
            "La pompe doit être purgée avant sa première mise en service.",
            "Ensuite, la pression devrait rester stable pendant au moins dix minutes.",
        ),
        "À ce sujet, le manuel du fabricant indique ce qui suit :",
        "Les programmes suivants doivent être installés au préalable :",
        "Avant le premier démarrage.",
    ),
    "es": Written(
        (
            "Hay que purgar la bomba antes de ponerla en marcha por primera vez.",
            "Después, la presión debería mantenerse estable al menos diez minutos.",
        ),
        "Sobre esto, el manual del fabricante dice lo siguiente:",
        "Antes hay que instalar los siguientes programas:",
        "Antes del primer arranque.",
    ),
    "pt": Written(
        (
            "A bomba deve ser purgada antes de ser ligada pela primeira vez.",
            "Depois disso, a pressão deve permanecer estável por pelo menos dez minutos.",
        ),
        "Sobre isso, o manual do fabricante diz o seguinte:",
        "Os seguintes programas precisam ser instalados antes:",
        "Antes da primeira partida.",
    ),
    "it": Written(
        (
            "La pompa deve essere sfiatata prima di essere avviata per la prima volta.",
            "Dopo di che la pressione dovrebbe rimanere stabile per almeno dieci minuti.",
        ),
        "A questo proposito il manuale del produttore dice quanto segue:",
        "Prima bisogna installare i seguenti programmi:",
        "Prima del primo avvio.",
    ),
    "nl": Written(
        (
            "De pomp moet worden ontlucht voordat hij voor het eerst wordt gestart.",
            "Daarna moet de druk minstens tien minuten lang stabiel blijven.",
        ),
        "Hierover staat in de handleiding van de fabrikant het volgende:",
        "De volgende programma's moeten vooraf worden geïnstalleerd:",
        "Vóór de eerste start.",
    ),
    "pl": Written(
        (
            "Przed pierwszym uruchomieniem pompę należy odpowietrzyć.",
            "Potem ciśnienie powinno pozostać stabilne przez co najmniej dziesięć minut.",
        ),
        "Na ten temat w instrukcji producenta czytamy:",
        "Wcześniej trzeba zainstalować następujące programy:",
        "Przed pierwszym uruchomieniem.",
    ),
    "sv": Written(
        (
            "Pumpen måste avluftas innan den startas för första gången.",
            "Därefter bör trycket hålla sig stabilt i minst tio minuter.",
        ),
        "Om detta står följande i tillverkarens handbok:",
        "Följande program måste installeras i förväg:",
        "Före första starten.",
    ),
    "fi": Written(
        (
            "Pumppu on ilmattava ennen kuin se käynnistetään ensimmäisen kerran.",
            "Sen jälkeen paineen pitäisi pysyä vakaana vähintään kymmenen minuuttia.",
        ),
        "Tästä valmistajan käyttöohjeessa sanotaan seuraavaa:",
        "Seuraavat ohjelmat on asennettava etukäteen:",
        "Ennen ensimmäistä käynnistystä.",
    ),
    "hu": Written(
        (
            "A szivattyút az első indítás előtt légteleníteni kell.",
            "Ezután a nyomásnak legalább tíz percig állandónak kell maradnia.",
        ),
        "Erről a gyártó kézikönyve a következőt írja:",
        "A következő programokat előbb telepíteni kell:",
        "Az első indítás előtt.",
    ),
    "ro": Written(
        (
            "Pompa trebuie aerisită înainte de a fi pornită pentru prima dată.",
            "După aceea presiunea ar trebui să rămână stabilă cel puțin zece minute.",
        ),
        "Despre aceasta manualul producătorului spune următoarele:",
        "Următoarele programe trebuie instalate în prealabil:",
        "Înainte de prima pornire.",
    ),
    "tr": Written(
        (
            "Pompanın ilk kez çalıştırılmadan önce havasının alınması gerekir.",
            "Bundan sonra basıncın en az on dakika boyunca sabit kalması gerekir.",
        ),
        "Üreticinin kılavuzunda bu konuda şöyle denmektedir:",
        "Önceden aşağıdaki programların kurulması gerekir:",
        "İlk çalıştırmadan önce.",
    ),
    "vi": Written(
        (
            "Phải xả hết khí trong máy bơm trước khi khởi động lần đầu tiên.",
            "Sau đó áp suất phải giữ ổn định trong ít nhất mười phút.",
        ),
        "Về điều này, sách hướng dẫn của nhà sản xuất viết như sau:",
        "Cần cài đặt trước những chương trình sau đây:",
        "Trước lần khởi động đầu.",
    ),
    "ru": Written(
        (
            "Перед первым пуском из насоса необходимо удалить воздух.",
            "После этого давление должно оставаться стабильным не менее десяти минут.",
        ),
        "В руководстве изготовителя об этом сказано следующее:",
        "Предварительно нужно установить следующие программы:",
        "Перед первым пуском.",
    ),
    "uk": Written(
        (
            "Перед першим запуском із насоса потрібно випустити повітря.",
            "Після цього тиск має залишатися стабільним щонайменше десять хвилин.",
        ),
        "У посібнику виробника про це сказано таке:",
        "Спочатку потрібно встановити такі програми:",
        "Перед першим запуском.",
    ),
    "sr-Cyrl": Written(
        (
            "Пумпа се мора одзрачити пре него што се први пут покрене.",
            "После тога притисак треба да остане стабилан најмање десет минута.",
        ),
        "У упутству произвођача о томе пише следеће:",
        "Претходно треба инсталирати следеће програме:",
        "Пре првог покретања.",
    ),
    "sr-Latn": Written(
        (
            "Pumpa se mora odzračiti pre nego što se prvi put pokrene.",
            "Posle toga pritisak treba da ostane stabilan najmanje deset minuta.",
        ),
        "U uputstvu proizvođača o tome piše sledeće:",
        "Prethodno treba instalirati sledeće programe:",
        "Pre prvog pokretanja.",
    ),
    "el": Written(
        (
            "Η αντλία πρέπει να εξαερωθεί πριν από την πρώτη εκκίνηση.",
            "Στη συνέχεια η πίεση πρέπει να παραμείνει σταθερή για τουλάχιστον δέκα λεπτά.",
        ),
        "Σχετικά με αυτό το εγχειρίδιο του κατασκευαστή αναφέρει τα εξής:",
        "Πρέπει πρώτα να εγκατασταθούν τα ακόλουθα προγράμματα:",
        "Πριν από την πρώτη εκκίνηση.",
    ),
    "he": Written(
        (
            "יש לשחרר את האוויר מהמשאבה לפני ההפעלה הראשונה.",
            "לאחר מכן הלחץ צריך להישאר יציב במשך עשר דקות לפחות.",
        ),
        "על כך נאמר במדריך של היצרן:",
        "יש להתקין מראש את התוכנות הבאות:",
        "לפני ההפעלה הראשונה.",
    ),
    "ar": Written(
        (
            "يجب تفريغ المضخة من الهواء قبل تشغيلها للمرة الأولى.",
            "بعد ذلك ينبغي أن يبقى الضغط ثابتا لمدة عشر دقائق على الأقل.",
        ),
        "وحول ذلك يقول دليل الشركة المصنعة ما يلي:",
        "يجب تثبيت البرامج التالية مسبقا:",
        "قبل التشغيل الأول.",
    ),
    "fa": Written(
        (
            "پیش از نخستین راه‌اندازی باید هوای پمپ را خالی کرد.",
            "پس از آن فشار باید دست‌کم ده دقیقه ثابت بماند.",
        ),
        "در دفترچهٔ راهنمای سازنده در این باره چنین آمده است:",
        "برنامه‌های زیر باید از پیش نصب شده باشند:",
        "پیش از نخستین راه‌اندازی.",
    ),
    "hi": Written(
        (
            "पहली बार चलाने से पहले पंप से हवा निकालनी चाहिए।",
            "उसके बाद दबाव कम से कम दस मिनट तक स्थिर रहना चाहिए।",
        ),
        "इसके बारे में निर्माता की पुस्तिका में यह लिखा है:",
        "पहले नीचे दिए गए प्रोग्राम स्थापित करने होंगे:",
        "पहली बार चलाने से पहले।",
    ),
    "bn": Written(
        (
            "প্রথমবার চালু করার আগে পাম্প থেকে বাতাস বের করে দিতে হবে।",
            "এরপর চাপ অন্তত দশ মিনিট স্থির থাকা উচিত।",
        ),
        "এ বিষয়ে নির্মাতার নির্দেশিকায় লেখা আছে:",
        "আগে নিচের প্রোগ্রামগুলো ইনস্টল করতে হবে:",
        "প্রথমবার চালুর আগে।",
    ),
    "ta": Written(
        (
            "முதல் முறை இயக்குவதற்கு முன் பம்பிலிருந்து காற்றை வெளியேற்ற வேண்டும்.",
            "அதன் பிறகு அழுத்தம் குறைந்தது பத்து நிமிடங்கள் நிலையாக இருக்க வேண்டும்.",
        ),
        "இதைப் பற்றி தயாரிப்பாளரின் கையேடு கூறுவது:",
        "பின்வரும் நிரல்களை முன்பே நிறுவ வேண்டும்:",
        "முதல் இயக்கத்திற்கு முன்.",
    ),
    "ka": Written(
        (
            "პირველ ჩართვამდე ტუმბოდან ჰაერი უნდა გამოუშვათ.",
            "ამის შემდეგ წნევა მინიმუმ ათი წუთის განმავლობაში სტაბილური უნდა დარჩეს.",
        ),
        "ამის შესახებ მწარმოებლის სახელმძღვანელოში წერია:",
        "წინასწარ უნდა დააყენოთ შემდეგი პროგრამები:",
        "პირველ ჩართვამდე.",
    ),
    "th": Written(
        (
            "ต้องไล่อากาศออกจากปั๊มก่อนเริ่มใช้งานครั้งแรก",
            "หลังจากนั้นความดันควรคงที่อย่างน้อยสิบนาที",
        ),
        "คู่มือของผู้ผลิตกล่าวถึงเรื่องนี้ไว้ดังนี้",
        "ต้องติดตั้งโปรแกรมต่อไปนี้ก่อน",
        "ก่อนเริ่มใช้งานครั้งแรก",
    ),
    "ko": Written(
        (
            "펌프를 처음 가동하기 전에 공기를 빼야 합니다.",
            "그런 다음 압력이 적어도 십 분 동안 안정적으로 유지되어야 합니다.",
        ),
        "이에 대해 제조사의 설명서에는 다음과 같이 적혀 있습니다:",
        "먼저 다음 프로그램을 설치해야 합니다:",
        "처음 가동하기 전.",
    ),
    "ja": Written(
        (
            "ポンプは初めて運転する前に空気を抜く必要があります。",
            "その後、圧力は少なくとも十分間は安定しているはずです。",
        ),
        "これについて製造元の説明書には次のように書かれています：",
        "あらかじめ次のプログラムをインストールしておく必要があります：",
        "初回の運転前。",
    ),
    "zh-Hans": Written(
        (
            "水泵首次启动之前必须先排出里面的空气。",
            "此后压力应当至少保持稳定十分钟。",
        ),
        "关于这一点，制造商的说明书这样写道：",
        "需要事先安装以下这些软件：",
        "首次启动之前。",
    ),
    "zh-Hant": Written(
        (
            "水泵首次啟動之前必須先排出裡面的空氣。",
            "此後壓力應當至少保持穩定十分鐘。",
        ),
        "關於這一點，製造商的說明書這樣寫道：",
        "需要事先安裝以下這些軟體：",
        "首次啟動之前。",
    ),
}  # fmt: skip

QUOTES: Final = {
    **dict.fromkeys(("fr", "ru", "uk", "el"), ("«", "»")),
    **dict.fromkeys(("ja", "zh-Hant"), ("「", "」")),
    "de": ("„", "“"),
    "pl": ("„", "”"),
}
"""Opening and closing quotation mark; “ and ” elsewhere."""

NAMES: Final = (
    "Prometheus, Grafana, Loki, Tempo, Alertmanager, Jaeger, Fluent Bit",
    "kubectl, helm, docker, terraform, ansible, git",
    "Siemens S7-1500, Schneider Electric Modicon M580, Rockwell ControlLogix",
    "Amazon Web Services, Google Cloud Platform, Microsoft Azure, Oracle Cloud",
)
TITLES: Final = (
    "*The Care and Feeding of Centrifugal Pumps*",
    "*Grundlagen der Strömungsmechanik für Ingenieure*",
    "*Manuel pratique des pompes industrielles*",
)
CODE: Final = (
    "```sh\nkubectl create namespace monitoring\nhelm install the-name-of-it prometheus-community/prometheus\n```\n",
    "```python\nfor each_value in the_values_of_the_sensor:\n    # this comment is written in English, as all of them\n"
    "    print(each_value.is_stable_for(minutes=10))\n```\n",
    "`sudo systemctl enable --now the-service-of-the-pump` [1]\n",
)
