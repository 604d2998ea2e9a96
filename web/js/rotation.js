/** The camera's picture turned, for cameras that hang upside down or stand on their side. */

import { FRAMES_PER_SECOND, painted, shown } from './painted.js';

/** A track with the picture of `source` turned clockwise by `degrees`. Its end is the source's. */
export async function turned(source, degrees) {
    const video = await shown(source);
    const isOnItsSide = degrees % 180 !== 0;
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    const draw = () => {
        const { videoWidth: width, videoHeight: height } = video;
        const size = isOnItsSide ? [height, width] : [width, height];
        if (canvas.width !== size[0] || canvas.height !== size[1])
            [canvas.width, canvas.height] = size;
        context.setTransform(1, 0, 0, 1, canvas.width / 2, canvas.height / 2);
        context.rotate(degrees * Math.PI / 180);
        context.drawImage(video, -width / 2, -height / 2, width, height);
    };
    draw();
    const timer = setInterval(draw, 1_000 / FRAMES_PER_SECOND);
    return painted(canvas, { source, video, onStop: () => clearInterval(timer) });
}
