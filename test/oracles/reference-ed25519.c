/*
 * Lets Debian's ostree-prepare-root verify signatures. Debian builds it without a library for ed25519, so that one function
 * of it only says that support is not compiled in; all else that `composefs.enabled=signed` needs is there. Preloaded
 * (/etc/ld.so.preload), this puts a function of the same contract in that one's place, with OpenSSL, which libcomposefs
 * brings along: a key or a signature of another length is an error, a signature that does not verify is none.
 *
 * The function is found by what it says, so that the next version of Debian's package needs no new address; where the
 * sentence or the function around it is not as expected the program ends, for a reference that verifies nothing is none.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of GLib, OpenSSL and GCC's unwinder; the process has them, this machine's headers may be of other versions. */
typedef struct bytes Bytes;
extern const unsigned char *g_bytes_get_data(Bytes *bytes, size_t *size);
extern unsigned g_io_error_quark(void);
extern void g_set_error_literal(void **error, unsigned domain, int code, const char *message);
extern void *EVP_PKEY_new_raw_public_key(int type, void *engine, const unsigned char *key, size_t size);
extern void EVP_PKEY_free(void *key);
extern void *EVP_MD_CTX_new(void);
extern void EVP_MD_CTX_free(void *context);
extern int EVP_DigestVerifyInit(void *context, void *key_context, void *type, void *engine, void *key);
extern int EVP_DigestVerify(void *context, const unsigned char *signature, size_t signature_size,
                            const unsigned char *data, size_t size);
extern void *_Unwind_FindEnclosingFunction(void *address);

#define EVP_PKEY_ED25519 1087
#define KEY_BYTES 32
#define SIGNATURE_BYTES 64

static int fails(void **error, const char *message)
{
    g_set_error_literal(error, g_io_error_quark(), 0, message);
    return 0;
}

/* The contract of otcore_validate_ed25519_signature(): returns false with an error, or says in *valid what it found. */
static int validate(Bytes *data, Bytes *public_key, Bytes *signature, _Bool *valid, void **error)
{
    size_t key_size, signature_size, size;
    const unsigned char *key_bytes = g_bytes_get_data(public_key, &key_size);
    const unsigned char *signature_bytes = g_bytes_get_data(signature, &signature_size);
    const unsigned char *bytes = g_bytes_get_data(data, &size);
    if (key_size != KEY_BYTES)
        return fails(error, "public key of another length");
    if (signature_size != SIGNATURE_BYTES)
        return fails(error, "signature of another length");
    void *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key_bytes, key_size);
    void *context = EVP_MD_CTX_new();
    if (!key || !context)
        return fails(error, "OpenSSL takes no such key");
    if (EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1)
        *valid = EVP_DigestVerify(context, signature_bytes, signature_size, bytes, size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return 1;
}

static const char SENTENCE[] = "ed25519 signature validation requested, but support not compiled in";

static void require(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "reference-ed25519: cannot add ed25519 to this program: %s\n", what);
    _Exit(125);
}

/* The program's own segment with these permissions. */
static unsigned char *segment(const struct dl_phdr_info *program, unsigned permissions, const void *holding, size_t length,
                              size_t *size)
{
    *size = 0;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &program->dlpi_phdr[i];
        unsigned char *start = (unsigned char *)program->dlpi_addr + header->p_vaddr;
        if (header->p_type != PT_LOAD || header->p_flags != permissions ||
            (length && !memmem(start, header->p_memsz, holding, length)))
            continue;
        *size = header->p_memsz;
        return start;
    }
    return NULL;
}

/* The first object that is loaded is the program itself. */
static int patch(struct dl_phdr_info *program, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    size_t constants_size, code_size;
    unsigned char *constants = segment(program, PF_R, SENTENCE, sizeof SENTENCE, &constants_size);
    require(constants != NULL, "it does not say that support is missing");
    const unsigned char *sentence = memmem(constants, constants_size, SENTENCE, sizeof SENTENCE);
    unsigned char *code = segment(program, PF_R | PF_X, NULL, 0, &code_size);
    require(code != NULL, "it has no code");

    /* lea SENTENCE(%rip), REGISTER */
    unsigned char *user = NULL;
    int users = 0;
    for (unsigned char *at = code; at + 7 <= code + code_size; at++) {
        int offset;
        memcpy(&offset, at + 3, sizeof offset);
        if (at[0] == 0x48 && at[1] == 0x8d && (at[2] & 0xc7) == 0x05 && at + 7 + offset == sentence) {
            user = at;
            users++;
        }
    }
    require(users == 1, "not one place in it says that support is missing");
    unsigned char *function = _Unwind_FindEnclosingFunction(user);
    require(function && function < user && user - function < 256, "the function that says so is not a small one");

    /* jmp *0(%rip), followed by where to. */
    unsigned char jump[14] = {0xff, 0x25};
    int (*target)(Bytes *, Bytes *, Bytes *, _Bool *, void **) = validate;
    memcpy(jump + 6, &target, sizeof target);
    require(!mprotect(code, code_size, PROT_READ | PROT_WRITE | PROT_EXEC), "its code cannot be changed");
    memcpy(function, jump, sizeof jump);
    require(!mprotect(code, code_size, PROT_READ | PROT_EXEC), "its code cannot be protected again");
    return 1;
}

__attribute__((constructor)) static void add_ed25519(void)
{
    dl_iterate_phdr(patch, NULL);
}
