/*
 * Says so when the page's scripts do not run: in browsers that are too old for them, and when one of
 * them could not be loaded. Not a module, and in the JavaScript of old, so that it runs there.
 */
(function () {
    'use strict';
    var TEXTS = {
        en: 'This page cannot run here: the browser is too old, or a part of the page did not arrive. '
            + 'Load it again; if that does not help, try a current Firefox, Chrome, Edge or Safari.',
        fr: 'Cette page ne peut pas fonctionner ici : le navigateur est trop ancien, ou une partie de la '
            + 'page n’est pas arrivée. Rechargez-la ; si cela ne suffit pas, essayez une version récente '
            + 'de Firefox, Chrome, Edge ou Safari.',
        de: 'Diese Seite läuft hier nicht: Der Browser ist zu alt, oder ein Teil der Seite ist nicht '
            + 'angekommen. Laden Sie sie neu; wenn das nicht hilft, nehmen Sie einen aktuellen Firefox, '
            + 'Chrome, Edge oder Safari.',
        es: 'Esta página no funciona aquí: el navegador es demasiado antiguo o una parte de la página no '
            + 'ha llegado. Vuelva a cargarla; si no sirve, pruebe con una versión actual de Firefox, '
            + 'Chrome, Edge o Safari.',
        ar: 'لا تعمل هذه الصفحة هنا: المتصفح قديم جدًا أو لم يصل جزء من الصفحة. أعد تحميلها، وإن لم يُجدِ ذلك '
            + 'فجرّب إصدارًا حديثًا من Firefox أو Chrome أو Edge أو Safari.',
        zh: '此页面无法在这里运行：浏览器版本过旧，或页面的一部分没有加载成功。请重新加载；'
            + '如果仍然不行，请使用新版的 Firefox、Chrome、Edge 或 Safari。'
    };

    function say() {
        var language = (navigator.language || 'en').split('-')[0];
        var text = TEXTS[language] || TEXTS.en;
        var main = document.querySelector('.card') || document.body;
        if (document.getElementById('too-old') || !main)
            return;
        var line = document.createElement('p');
        line.id = 'too-old';
        line.className = 'error';
        line.setAttribute('role', 'alert');
        line.setAttribute('lang', TEXTS[language] ? language : 'en');
        line.setAttribute('dir', 'auto');
        line.appendChild(document.createTextNode(text));
        main.appendChild(line);
        document.documentElement.className += ' is-translated';
    }

    function whenReady(deed) {
        if (document.readyState === 'loading')
            document.addEventListener('DOMContentLoaded', deed);
        else
            deed();
    }

    if (!('noModule' in document.createElement('script'))) {
        whenReady(say);
        return;
    }
    // A module that did not arrive, or whose words the browser does not know.
    window.addEventListener('error', function (event) {
        var isScript = event.target && event.target.tagName === 'SCRIPT';
        var isWords = event.error instanceof SyntaxError;
        if (isScript || isWords)
            whenReady(say);
    }, true);
})();
