"""llama.cpp's library out of the wheel llama-cpp-py-sync: logits of a GGUF file, and its quantizer."""
import ctypes, glob, importlib, os, platform, shutil, struct, subprocess, sys, sysconfig, tempfile, types
import numpy as np

PACKAGE = os.path.join(sysconfig.get_paths()["purelib"], "llama_cpp_py_sync")
SHIM = """#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
long __isoc23_strtol(const char* s, char** e, int b) { return strtol(s, e, b); }
unsigned long __isoc23_strtoul(const char* s, char** e, int b) { return strtoul(s, e, b); }
unsigned long long __isoc23_strtoull(const char* s, char** e, int b) { return strtoull(s, e, b); }
int __isoc23_sscanf(const char* s, const char* f, ...) {
  va_list a;
  va_start(a, f);
  int n = vsscanf(s, f, a);
  va_end(a);
  return n;
}
"""


def weaken(path):
    """The libraries were built with glibc 2.38 and use four functions of it, which the shim has: its version counts as optional."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    table, count = struct.unpack_from("<Q", data, 0x28)[0], struct.unpack_from("<H", data, 0x3C)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
    for _, kind, _, _, offset, _, link, needs, _, _ in sections:
        if kind != 0x6FFFFFFE:  # SHT_GNU_verneed
            continue
        strings, at = sections[link][4], offset
        for _ in range(needs):
            _, versions, _, first, following = struct.unpack_from("<HHIII", data, at)
            entry = at + first
            for _ in range(versions):
                _, flags, _, name, next_entry = struct.unpack_from("<IHHII", data, entry)
                if data[strings + name:].split(b"\0", 1)[0] == b"GLIBC_2.38":
                    struct.pack_into("<H", data, entry + 4, flags | 2)  # VER_FLG_WEAK
                entry += next_entry
            at += following
    with open(path, "wb") as file:
        file.write(data)


LOG = {}  # what the library calls has to outlive it


def log_errors(level, text, data):
    if level == 4:  # GGML_LOG_LEVEL_ERROR
        sys.stderr.write(LOG["ffi"].string(text).decode(errors="replace"))


def load(folder):
    """(library, ffi). An older glibc gets copies of the libraries in `folder`."""
    libraries = PACKAGE
    if tuple(map(int, platform.libc_ver()[1].split(".")[:2])) < (2, 38):
        libraries = os.path.join(folder, "llama")
        if not os.path.isdir(libraries):
            making = tempfile.mkdtemp(dir=folder)
            for path in glob.glob(PACKAGE + "/*.so*"):
                shutil.copy(path, making)
                weaken(os.path.join(making, os.path.basename(path)))
            with open(making + "/shim.c", "w") as file:
                file.write(SHIM)
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", making + "/shim.so", making + "/shim.c"], check=True)
            os.rename(making, libraries)
        ctypes.CDLL(libraries + "/shim.so", ctypes.RTLD_GLOBAL)
    for name in ("ggml-base", "ggml-cpu", "ggml"):
        ctypes.CDLL(f"{libraries}/lib{name}.so.0", ctypes.RTLD_GLOBAL)
    sys.modules.setdefault("llama_cpp_py_sync", types.ModuleType("llama_cpp_py_sync")).__path__ = [PACKAGE]  # without its imports
    bindings = importlib.import_module("llama_cpp_py_sync._cffi_bindings")
    ffi = bindings.ffi
    library = ffi.dlopen(libraries + "/libllama.so")
    ctypes.CDLL(libraries + "/libggml.so.0").ggml_backend_load_all_from_path(libraries.encode())
    library.llama_log_set(LOG.setdefault("callback", ffi.callback("void(enum ggml_log_level, const char*, void*)", log_errors)), ffi.NULL)
    LOG["ffi"] = ffi
    library.llama_backend_init()
    return library, ffi


class Llama:
    """One file, loaded."""

    def __init__(self, folder, path, length, threads=1, exact=False):
        self.library, self.ffi = load(folder)
        model = self.library.llama_model_default_params()
        model.n_gpu_layers = 0
        model.check_tensors = True
        self.model = self.library.llama_model_load_from_file(path.encode(), model)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not load it")
        context = self.library.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = length
        context.n_seq_max = 1
        if exact:  # keys and values of the cache in fp32
            context.type_k = context.type_v = 0
            context.flash_attn_type = 0
        context.n_threads = context.n_threads_batch = threads
        self.context = self.library.llama_init_from_model(self.model, context)
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp makes no context")
        self.trained = self.library.llama_model_n_ctx_train(self.model)
        self.words = self.library.llama_vocab_n_tokens(self.library.llama_model_get_vocab(self.model))

    def _decode(self, ids, first):
        """[tokens, vocabulary] of ids that follow on `first` others in the cache."""
        ids = [int(one) for one in ids]
        batch = self.library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, one in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = one, first + i, 1, 1
            batch.seq_id[i][0] = 0
        status = self.library.llama_decode(self.context, batch)
        if status:
            raise SystemExit(f"llama_decode ended with {status}")
        values = self.library.llama_get_logits(self.context)
        out = np.frombuffer(self.ffi.buffer(values, len(ids) * self.words * 4), np.float32).reshape(len(ids), self.words).copy()
        self.library.llama_batch_free(batch)
        return out

    def logits(self, ids):
        """[tokens, vocabulary] of one window."""
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)
        return self._decode(ids, 0)

    def greedy(self, prompt, steps):
        """What Table.greedy asks for."""
        row, tokens = self.logits(prompt)[-1], []
        for step in range(steps):
            tokens.append(int(row.argmax()))
            row = self._decode(tokens[-1:], len(prompt) + step)[-1]
        return tokens

    def tokens(self, text):
        """Ids of a text, without special tokens in front."""
        data = text.encode()
        room = self.ffi.new("int32_t[]", len(data) + 16)
        vocab = self.library.llama_model_get_vocab(self.model)
        count = self.library.llama_tokenize(vocab, data, len(data), room, len(data) + 16, False, False)
        if count < 0:
            raise SystemExit(f"llama_tokenize ended with {count}")
        return [room[i] for i in range(count)]

    def close(self):
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)


def quantize(folder, source, target, file_type, importance=None, pure=False, threads=1, embedding=None, output=None):
    """llama.cpp's own quantizer. `importance`: {tensor of the file: fp32 of its columns}, as an imatrix has it."""
    library, ffi = load(folder)
    params = library.llama_model_quantize_default_params()
    params.nthread, params.ftype, params.pure, params.allow_requantize = threads, file_type, pure, False
    if embedding is not None:
        params.token_embedding_type = embedding
    if output is not None:
        params.output_tensor_type = output
    kept = []
    if importance:
        entries = ffi.new("struct llama_model_imatrix_data[]", len(importance) + 1)
        for i, (name, values) in enumerate(sorted(importance.items())):
            text, data = ffi.new("char[]", name.encode()), ffi.from_buffer("float[]", np.ascontiguousarray(values, np.float32))
            kept += [text, data]
            entries[i].name, entries[i].data, entries[i].size = text, data, len(values)
        params.imatrix = entries
        kept.append(entries)
    status = library.llama_model_quantize(source.encode(), target.encode(), ffi.new("llama_model_quantize_params*", params))
    if status:
        raise SystemExit(f"llama_model_quantize of {source} ended with {status}")
    return target
