#pragma once
/* The C handshake between host and plugin. Structs only grow: struct_size comes first, fields are
   appended and never moved. The one exported symbol is swage_plugin_v1; everything else of a plugin
   stays hidden. */
#include <stddef.h>
#include <stdint.h>

#define SWAGE_ABI_MAJOR 1 /* differs: every plugin must be rebuilt */
#define SWAGE_ABI_MINOR 1 /* differs: the same, since C++ objects cross the border */

#ifdef __cplusplus
extern "C" {
#endif

/* Freed by the side that filled it in, through `release`. */
typedef struct swage_error {
  uint32_t struct_size;
  int32_t code; /* absl::StatusCode */
  char* message;
  void (*release)(struct swage_error*);
} swage_error;

typedef struct swage_host_info {
  uint32_t struct_size, abi_major, abi_minor;
  const char* fingerprint;
} swage_host_info;

typedef struct swage_create_args {
  uint32_t struct_size;
  const void* params; /* const swage::Params*, borrowed for the call */
} swage_create_args;

typedef struct swage_component {
  uint32_t struct_size;
  const char* kind;  /* "model", "algorithm", "evaluator", "exporter", "format" */
  const char* name;  /* as in the manifest */
  const char* iface; /* "algorithm/2", interfaces.h */
  /* 0 and *out = pointer to the interface class (swage::Algorithm* …), or a code and a filled-in
   * error. Never throws. */
  int32_t (*create)(const swage_create_args*, void** out, swage_error* error);
  void (*destroy)(void* self);
} swage_component;

typedef struct swage_plugin {
  uint32_t struct_size, abi_major, abi_minor;
  const char* fingerprint;
  const char* id;
  const char* version;
  const swage_component* const* components; /* pointers: a component may grow as well */
  uint32_t component_count;
  void (*shutdown)(void); /* may be null; called once before the host ends */
} swage_plugin;

/* Null: the plugin refuses this host. */
typedef const swage_plugin* (*swage_plugin_fn)(const swage_host_info*);
#define SWAGE_PLUGIN_SYMBOL "swage_plugin_v1"

/* ELF notes of a plugin file, owner SWAGE_NOTE_OWNER, text: read without running the file. */
#define SWAGE_NOTE_OWNER "SWAGE"
#define SWAGE_NOTE_FINGERPRINT 1 /* fingerprint.h */
#define SWAGE_NOTE_MANIFEST 2    /* TOML */

/* Does struct `p` of a known type reach to the end of `field`? */
#define SWAGE_HAS(p, field) \
  ((p)->struct_size >= offsetof(__typeof__(*(p)), field) + sizeof((p)->field))

#ifdef __cplusplus
}
#endif
