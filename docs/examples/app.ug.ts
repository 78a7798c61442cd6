<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="ug" sourcelanguage="en">
<context>
    <name>MainWindow</name>
    <message>
        <location filename="../mainwindow.cpp" line="12"/>
        <source>&amp;Open file</source>
        <translation>ھۆججەت ئاچ(&amp;O)</translation>
    </message>
    <message>
        <location filename="../mainwindow.cpp" line="14"/>
        <source>Close</source>
        <translation>ياپ</translation>
    </message>
    <message numerus="yes">
        <location filename="../mainwindow.cpp" line="20"/>
        <source>%n file(s)</source>
        <translatorcomment>trimix-cpp: loses %n</translatorcomment>
        <translation type="unfinished">
            <numerusform>% ھۆججەت(لەر)</numerusform>
            <numerusform>% ھۆججەت(لەر)</numerusform>
        </translation>
    </message>
    <message>
        <location filename="../mainwindow.cpp" line="31"/>
        <source>Copy %1 to %2</source>
        <extracomment>File names</extracomment>
        <translatorcomment>trimix-cpp: loses %2; loses the number 2</translatorcomment>
        <translation type="unfinished">%1 غا كۆچۈر</translation>
    </message>
    <message>
        <source>Exit</source>
        <translation type="vanished">چېكىن</translation>
    </message>
</context>
</TS>
