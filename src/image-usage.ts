/** The prose of the manual pages of `image`. */

import type { ManualPage } from './manual.ts';

export const IMAGE_PAGE: ManualPage = {
  summary: 'make and read composefs images',
  description: [
    'A composefs image is a read-only EROFS file system that holds names and metadata and refers to objects by their path and fs-verity digest.',
  ],
  examples: ['sealroot image create --repo repo --commit os/stable os.cfs', 'sealroot image dump os.cfs'],
};

export const IMAGE_CREATE_PAGE: ManualPage = {
  summary: 'write the composefs image of a commit',
  description: [
    'Computes the image from the objects of the commit, byte for byte what libostree makes, and writes it to IMAGE, or to standard output when IMAGE is "-". A file appears whole or not at all.',
    'An image without the digests of the files (--no-digests) is not what a sealed commit names: a mount of it shows the same tree and verifies no content.',
    'What has been read of the objects is kept in $XDG_CACHE_HOME/sealroot or ~/.cache/sealroot and used again as long as an object keeps its inode, size and times; --no-cache reads all of them. seal, verify and deployments never use it.',
    'With --hash-alg sha512 all digests are SHA-512, as composefs-rs has them; such an image is not what a sealed commit names.',
    'Prints the fs-verity digest of the image as fsverity-ALGORITHM-LOG2:HEX, with the binary logarithm of the block size, unless standard output is the image.',
  ],
  examples: [
    'sealroot image create --repo repo --commit os/stable os.cfs',
    'sealroot image create --repo repo --commit os/stable - | sealroot image dump -',
  ],
};

export const IMAGE_DUMP_PAGE: ManualPage = {
  summary: 'show a composefs image as text',
  description: [
    'Prints one line for each file of IMAGE ("-" is standard input), in the format of composefs-info dump.',
  ],
  examples: [
    'sealroot image dump os.cfs',
    'diff <(sealroot image dump old.cfs) <(sealroot image dump new.cfs)',
  ],
};

export const IMAGE_DIGEST_PAGE: ManualPage = {
  summary: 'print the fs-verity digest of an image',
  description: [
    'Prints the fs-verity digest of IMAGE ("-" is standard input) without a salt, as fsverity-ALGORITHM-LOG2:HEX, with the binary logarithm of the block size. It is what the kernel measures when the file has fs-verity of this algorithm and block size, and fsverity-sha256-12 is what a sealed commit names. The file need not have fs-verity. The kernel has none with blocks larger than its pages.',
  ],
  examples: [
    'sealroot image digest os.cfs',
    'sealroot image digest --hash-alg sha512 os.cfs',
    'sealroot image digest --json os.cfs',
  ],
};

export const IMAGE_CHECK_PAGE: ManualPage = {
  summary: 'find everything that is wrong with an image',
  description: [
    'Looks at IMAGE ("-" is standard input) as the readers of sealroot do, trusting nothing in it, and prints all violations instead of stopping at the first: a stable code, what is wrong, the offset and the path. Codes that begin with erofs- mean that it is no well-formed EROFS, those that begin with composefs- that composefs does not write such a thing: in an image without any of them every byte is as libcomposefs 1.0.8 would write it.',
    'Where a part of the image could not be read, the places and counts of the rest are not judged. The exit status is 3 when there are violations.',
  ],
  examples: ['sealroot image check os.cfs', 'sealroot image check --json os.cfs'],
};

export const IMAGE_LS_PAGE: ManualPage = {
  summary: 'list the files of an image',
  description: [
    'Prints one line for each file below PATH in IMAGE, directories before what is in them: type and permissions, user, group, size (of a device its numbers), and path; then "-> TARGET" of a symbolic link, and "= PATH" where the file has been listed under another name. Bytes of names that are not printable ASCII stand as \\xHH, as in a dump.',
    'With --json it also shows times, xattrs, content, backing file and digest.',
  ],
  examples: [
    'sealroot image ls os.cfs',
    'sealroot image ls os.cfs /usr/bin',
    'sealroot image ls --json os.cfs',
  ],
};

export const IMAGE_OBJECTS_PAGE: ManualPage = {
  summary: 'list the backing files of an image',
  description: [
    'Prints the path of every backing file that IMAGE refers to, below the store, once and sorted. With --json also its size, its fs-verity digest and the first file that uses it.',
  ],
  examples: ['sealroot image objects os.cfs'],
};

export const IMAGE_MISSING_OBJECTS_PAGE: ManualPage = {
  summary: 'list the backing files of an image that are not there',
  description: [
    'Prints, as the command objects does, the backing files that none of the stores has. Their content is not looked at. The exit status is 0 whether any is missing or not.',
  ],
  examples: [
    'sealroot image missing-objects --repo /ostree/repo os.cfs',
    'sealroot image missing-objects --basedir objects os.cfs',
  ],
};

export const IMAGE_MOUNT_PAGE: ManualPage = {
  summary: 'mount an image and its backing files, read-only',
  description: [
    'Reads IMAGE as the command check does and, when nothing is wrong with it, mounts it on DIRECTORY with the backing files of the stores: an overlay without a writable layer. umount DIRECTORY ends it. For a writable layer or mapped owners there is sealroot mount.composefs, which takes the options of composefs.',
    'With --digest, IMAGE must have fs-verity with that digest, and the kernel refuses to read a backing file that is not the one that the image names. Without it, whoever can write to IMAGE or to a store can change what is seen.',
  ],
  examples: [
    'sealroot image mount --basedir objects os.cfs /mnt',
    'sealroot image mount --repo /ostree/repo --digest "$(sealroot image digest os.cfs)" os.cfs /mnt',
  ],
};

export const IMAGE_DIFF_PAGE: ManualPage = {
  summary: 'say what differs between two images or commits',
  description: [
    'Compares the trees of A and B path by path and prints a line for each path that was added, removed or changed; of the latter what changed: type, content, mode, owner, time, xattr, hard links; digest where only one of them has a digest, backing where nothing but the path of the backing file differs. Two images of the same tree that are not the same bytes differ in their form.',
    'With --repo, an operand that is no file is a branch, remote ref or checksum, and the image of that commit is made first.',
    'The exit status is 0 when A and B are the same, 1 when they differ, and 2 or more in case of trouble, as diff(1) has it.',
  ],
  examples: [
    'sealroot image diff old.cfs new.cfs',
    'sealroot image diff --repo /ostree/repo /sysroot/ostree/deploy/debian/deploy/CHECKSUM.0/.ostree.cfs CHECKSUM',
    'sealroot image diff --json --repo repo os/stable os/next',
  ],
};
