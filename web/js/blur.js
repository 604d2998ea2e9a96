/**
 * What is behind the person blurred by this page itself, where browser, system and camera cannot: with
 * MediaPipe's selfie segmentation, whose files are beside the page if whoever runs the server has put
 * them there. Loaded when somebody wants it.
 */

import { element } from './element.js';
import { FRAMES_PER_SECOND, painted, shown } from './painted.js';

const FILES = new URL('../blur/', import.meta.url);
const SCRIPT = new URL('selfie_segmentation.js', FILES);
/** The model for pictures that are wider than high. */
const LANDSCAPE = 1;
/** What is behind is drawn so many times smaller, and then large again. */
const COARSE = 24;

/** Whether the files are there. */
export async function isThere() {
    const answer = await fetch(SCRIPT, { method: 'HEAD' }).catch(() => null);
    return Boolean(answer?.ok);
}

/** A track with the picture of `source`, blurred behind the person. Its end is the source's. */
export async function blurred(source) {
    await load();
    const video = await shown(source);
    const canvas = document.createElement('canvas');
    const painter = new Painter(canvas);
    const segmenter = new window.SelfieSegmentation({ locateFile: (name) => new URL(name, FILES).href });
    segmenter.setOptions({ modelSelection: LANDSCAPE });
    segmenter.onResults(({ image, segmentationMask }) => painter.paint(image, segmentationMask));
    // A picture goes out only when it is known what to hide of it.
    await segmenter.send({ image: video });
    let isOver = false;
    const work = async () => {
        while (!isOver) {
            const since = performance.now();
            if (video.videoWidth > 0)
                await segmenter.send({ image: video });
            const restMs = 1_000 / FRAMES_PER_SECOND - (performance.now() - since);
            await new Promise((resolve) => setTimeout(resolve, Math.max(0, restMs)));
        }
        await segmenter.close();
    };
    const track = painted(canvas, { source, video, onStop: () => { isOver = true; } });
    track.isBlurred = true;
    work().catch((error) => {
        // Rather no picture than one that shows what shall be hidden.
        console.error('no blur any more', error);
        track.stop();
        track.dispatchEvent(new Event('ended'));
    });
    return track;
}

class Painter {
    constructor(canvas) {
        this.canvas = canvas;
        this.context = canvas.getContext('2d');
        this.coarse = document.createElement('canvas');
        this.coarseContext = this.coarse.getContext('2d');
    }

    /** The person as it is before a coarse picture of everything. */
    paint(image, mask) {
        const { canvas, context, coarse } = this;
        const { width, height } = image;
        if (canvas.width !== width || canvas.height !== height) {
            [canvas.width, canvas.height] = [width, height];
            [coarse.width, coarse.height] = [width, height].map((size) => Math.ceil(size / COARSE));
        }
        this.coarseContext.drawImage(image, 0, 0, coarse.width, coarse.height);
        context.globalCompositeOperation = 'copy';
        context.drawImage(mask, 0, 0, width, height);
        context.globalCompositeOperation = 'source-in';
        context.drawImage(image, 0, 0, width, height);
        context.globalCompositeOperation = 'destination-over';
        context.imageSmoothingQuality = 'high';
        context.drawImage(coarse, 0, 0, width, height);
    }
}

/** The library is no module: it leaves its class in the window. */
function load() {
    if (window.SelfieSegmentation)
        return Promise.resolve();
    return new Promise((resolve, reject) => {
        const script = element('script', { src: SCRIPT.href });
        script.addEventListener('load', resolve);
        script.addEventListener('error', () => {
            script.remove();
            reject(new Error('the files for blurring are not there'));
        });
        document.head.append(script);
    });
}
