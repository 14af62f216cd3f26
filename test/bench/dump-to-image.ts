/** DUMP IMAGE: a composefs-dump text becomes an image, and nothing else; what `mkcomposefs --from-file` does. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseDump } from '../../src/formats/dump.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { validateTree } from '../../src/formats/tree.ts';

const [, , dump = '', image = ''] = process.argv;
writeFileSync(image, writeImage(validateTree(parseDump(readFileSync(dump)))));
