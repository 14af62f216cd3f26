/** The prose of the manual pages of `disk` and `admin`. */

import type { ManualPage } from './manual.ts';

export const DISK_PAGE: ManualPage = {
  summary: 'make disk images',
  description: ['Disk images of sealed systems, made without booting them.'],
  examples: [
    'sealroot disk create --repo repo --ref os/stable --os debian --pubkey keys/sealroot.pub --output disk.qcow2',
  ],
};

export const DISK_CREATE_PAGE: ManualPage = {
  summary: 'make a bootable disk of a sealed commit',
  description: [
    'Takes the verdict of the boot on the commit that REF names and makes a disk of it: GPT, an EFI system partition with the systemd-boot of the tree and one entry, an ext4 root with the deployment. The objects that the image refers to and the image itself get fs-verity, written by hand: the running kernel need not have it. The file appears when e2fsck finds no fault in it, or not at all.',
    'Needs root (it mounts, in a mount namespace of its own) and the programs sfdisk, mkfs.ext4, debugfs, e2fsck, mkfs.vfat, mcopy and, for qcow2, qemu-img.',
    'The entry of the EFI system partition is that of this deployment; updates write their entries to /boot of the root file system.',
  ],
  examples: [
    'sealroot disk create --repo repo --ref os/stable --os debian --pubkey keys/sealroot.pub --karg console=ttyS0 --output disk.qcow2',
  ],
};

export const ADMIN_PAGE: ManualPage = {
  summary: 'deployments of this machine',
  description: ['What happens on the device: sealed deployments, and what the present ones are worth.'],
  examples: ['sealroot admin status'],
};

export const ADMIN_DEPLOY_PAGE: ManualPage = {
  summary: 'deploy a sealed commit',
  description: [
    'Takes the verdict of the boot on the commit, makes its image from the objects in the repository of the sysroot, enables fs-verity on every object that the image refers to, lets libostree deploy, and puts the image into the deployment before the boot loader is told. If any of it fails there is no new deployment and the boot loader is as it was.',
    'The commit is judged by the keys that the booted initramfs has recorded in /run/sealroot/keys and by the policy beside it, or by the keys of --pubkey; never by what comes with it. It must not be below the floor of a commit that is deployed. Nothing is fetched: pull before.',
    'A repository that is checked out on a read-only /sysroot is made writable in a mount namespace of the command alone.',
  ],
  examples: [
    'sealroot admin deploy --os debian os/stable',
    'sealroot admin deploy --sysroot /mnt --os debian --pubkey sealroot.pub os/stable',
  ],
};

export const ADMIN_PLAN_PAGE: ManualPage = {
  summary: 'show what a boot of a deployment would do',
  description: [
    'Takes the decision of the boot on a deployment and prints it as JSON with the steps that would follow: what is mounted where, and which files are written. sealroot-prepare-root --plan prints the same in the initramfs, of the deployment that its kernel command line asks for. Nothing is mounted. An image that the boot would build again (rebuild-image=yes) is built here, too, to see that it is the signed one.',
    'Keys and policy are those that the booted initramfs has recorded in /run/sealroot; with --pubkey, the policy is the one in the tree of the deployment.',
  ],
  examples: [
    'sealroot admin plan 8f2c...e1.0',
    'sealroot admin plan --sysroot /mnt --pubkey sealroot.pub 8f2c...e1.0',
  ],
};

export const ADMIN_STATUS_PAGE: ManualPage = {
  summary: 'show what each deployment is worth',
  description: [
    'For each deployment, in boot order: the commit, the verdict on its signature, the digest that it names, and its image: sealed (the kernel enforces that digest), missing, no-verity, wrong-digest or unreadable. The booted one has a star, and says how long its verification took, by which key, and what was refused before it.',
  ],
  examples: ['sealroot admin status', 'sealroot admin status --json'],
};
