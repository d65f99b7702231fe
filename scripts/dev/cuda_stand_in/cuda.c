/* Stand-ins for the functions of CUDA that ONNX Runtime's CUDA provider calls.
 *
 * Memory, copies and errors are real; kernels do nothing. So a graph without kernels (Reshape,
 * Identity) computes what it should, and a graph with kernels runs but its numbers mean nothing.
 * make.py adds a function that returns 0 for every symbol that is not here.
 *
 * Environment of the program that runs:
 *   STAND_IN_GPUS        number of GPUs, 1 by default, 0 for none
 *   STAND_IN_MEMORY_MB   memory of each GPU, 80 GiB by default
 *   STAND_IN_FULL_AT     number of the copy to a GPU, from 1, that fails for lack of memory
 *   STAND_IN_CAPABILITY  compute capability times ten, 90 by default
 *   STAND_IN_TRACE       file to which copies, allocations of pinned memory and launches are appended,
 *                        and NVIDIA_TF32_OVERRIDE when a library is loaded
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
       NO_KERNEL_IMAGE = 209, NOT_FOUND = 500 };

/* Compute capabilities that the wheel has machine code for. */
static const int BUILT[] = {75, 80, 86, 89, 90, 120};

static long setting(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value ? atol(value) : otherwise;
}

static size_t memory(void) {
  return (size_t)setting("STAND_IN_MEMORY_MB", 80L << 10) << 20;
}

static void trace(const char *what, size_t bytes, int kind) {
  const char *path = getenv("STAND_IN_TRACE");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (!file)
    return;
  fprintf(file, "%s %zu %d\n", what, bytes, kind);
  fclose(file);
}

__attribute__((constructor)) static void loaded(void) {
  const char *value = getenv("NVIDIA_TF32_OVERRIDE");
  if (value)
    trace("tf32", 0, atoi(value));
}

static __thread int device = 0;
static _Atomic size_t used = 0;

/* The size stands before the block, so that freeing gives it back. */
static int allocate(void **pointer, size_t bytes, int on_device) {
  enum { HEAD = 256 };
  char *block;
  *pointer = NULL;
  if (on_device && used + bytes > memory())
    return OUT_OF_MEMORY;
  if (posix_memalign((void **)&block, HEAD, bytes + HEAD))
    return OUT_OF_MEMORY;
  *(size_t *)block = on_device ? bytes : 0;
  used += on_device ? bytes : 0;
  *pointer = block + HEAD;
  return OK;
}

static int release(void *pointer) {
  if (!pointer)
    return OK;
  char *block = (char *)pointer - 256;
  used -= *(size_t *)block;
  free(block);
  return OK;
}

int cudaGetDeviceCount(int *count) {
  *count = (int)setting("STAND_IN_GPUS", 1);
  return *count ? OK : NO_DEVICE;
}
int cudaGetDevice(int *found) { return *found = device, OK; }
int cudaSetDevice(int wanted) {
  if (wanted >= setting("STAND_IN_GPUS", 1))
    return INVALID_DEVICE;
  return device = wanted, OK;
}
int cudaRuntimeGetVersion(int *version) { return *version = 13000, OK; }
int cudaDriverGetVersion(int *version) { return *version = 13000, OK; }

int cudaMalloc(void **p, size_t bytes) { return allocate(p, bytes, 1); }
int cudaMallocFromPoolAsync(void **p, size_t bytes) { return allocate(p, bytes, 1); }
int cudaMallocHost(void **p, size_t bytes) { return trace("pinned", bytes, 0), allocate(p, bytes, 0); }
int cudaHostAlloc(void **p, size_t bytes) { return trace("pinned", bytes, 0), allocate(p, bytes, 0); }
int cudaFree(void *p) { return release(p); }
int cudaFreeAsync(void *p) { return release(p); }
int cudaFreeHost(void *p) { return release(p); }
int cudaMemset(void *to, int value, size_t bytes) { return memset(to, value, bytes), OK; }
int cudaMemsetAsync(void *to, int value, size_t bytes) { return memset(to, value, bytes), OK; }
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
  static _Atomic long copies = 0;
  if (kind == 1 && ++copies == setting("STAND_IN_FULL_AT", 0))
    return OUT_OF_MEMORY;
  trace("copy", bytes, kind);
  return memcpy(to, from, bytes), OK;
}
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind) {
  return cudaMemcpy(to, from, bytes, kind);
}
int cudaMemGetInfo(size_t *available, size_t *total) {
  return *total = memory(), *available = *total - used, OK;
}
int cudaMemPoolGetAttribute(void *pool, int attribute, void *value) {
  return *(unsigned long long *)value = 0, OK;
}
/* type, device, devicePointer, hostPointer: cudaMemoryTypeDevice. */
int cudaPointerGetAttributes(char *attributes, const void *pointer) {
  memset(attributes, 0, 24);
  return *(int *)attributes = 2, OK;
}

/* Numbers of cudaDeviceAttr. */
int cudaDeviceGetAttribute(int *value, int attribute, int of) {
  int capability = (int)setting("STAND_IN_CAPABILITY", 90);
  switch (attribute) {
  case 8: *value = 49152; break;              /* shared memory per block */
  case 10: *value = 32; break;                /* warp size */
  case 16: *value = 132; break;               /* multiprocessors */
  case 75: *value = capability / 10; break;
  case 76: *value = capability % 10; break;
  case 81: *value = 233472; break;            /* shared memory per multiprocessor */
  case 97: *value = 232448; break;            /* the same per block, opt-in */
  case 19: case 41: case 99: *value = 1; break;
  case 18: case 88: case 89: case 91: case 100: *value = 0; break;
  default: *value = 1024;
  }
  return OK;
}
/* Offsets of cudaDeviceProp in CUDA 13. */
int cudaGetDeviceProperties(char *properties, int of) {
  int capability = (int)setting("STAND_IN_CAPABILITY", 90);
  memset(properties, 0, 1000);
  strcpy(properties, "Stand-in");
  *(size_t *)(properties + 288) = memory();
  *(size_t *)(properties + 296) = 49152;
  int *numbers = (int *)(properties + 304); /* registers, warp, pitch, threads, block, grid */
  numbers[0] = 65536, numbers[1] = 32, numbers[4] = 1024;
  numbers[5] = 1024, numbers[6] = 1024, numbers[7] = 64;
  numbers[8] = 2147483647, numbers[9] = 65535, numbers[10] = 65535;
  *(int *)(properties + 360) = capability / 10;
  *(int *)(properties + 364) = capability % 10;
  *(int *)(properties + 384) = 132;
  *(int *)(properties + 388) = 132;
  return OK;
}

int cudaStreamIsCapturing(void *stream, int *status) { return *status = 0, OK; }
int cudaEventElapsedTime(float *milliseconds) { return *milliseconds = 0, OK; }
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
  return function(data), OK;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { return *blocks = 2, OK; }
int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                     unsigned long long flags, int *result) {
  *function = NULL;
  if (result)
    *result = 1;
  return NOT_FOUND;
}
static __thread int last_error = OK;
int cudaPeekAtLastError(void) { return last_error; }
int cudaGetLastError(void) {
  int error = last_error;
  return last_error = OK, error;
}
static int launch(void) {
  long capability = setting("STAND_IN_CAPABILITY", 90);
  trace("launch", 0, 0);
  for (size_t i = 0; i < sizeof BUILT / sizeof *BUILT; i++)
    if (BUILT[i] == capability)
      return OK;
  return last_error = NO_KERNEL_IMAGE;
}
int cudaLaunchKernel(void) { return launch(); }
int cudaLaunchKernelExC(void) { return launch(); }
int __cudaLaunchKernel(void) { return launch(); }
/* Products are launches too. */
static int product(void) { return trace("launch", 0, 1), OK; }
int cublasGemmEx(void) { return product(); }
int cublasSgemm_v2(void) { return product(); }
int cublasGemmStridedBatchedEx(void) { return product(); }
int cublasSgemmStridedBatched(void) { return product(); }
int cublasLtMatmul(void) { return product(); }
int cudnnBackendExecute(void) { return product(); }
int __cudaGetKernel(void **kernel, const void *function) { return *kernel = (void *)function, OK; }
void **__cudaRegisterFatBinary(void *binary) { return calloc(64, sizeof(void *)); }

static const char *name_of(int error) {
  switch (error) {
  case OUT_OF_MEMORY: return "out of memory";
  case NO_DEVICE: return "no CUDA-capable device is detected";
  case INVALID_DEVICE: return "invalid device ordinal";
  case NO_KERNEL_IMAGE: return "no kernel image is available for execution on the device";
  default: return "error of the stand-in";
  }
}
const char *cudaGetErrorString(int error) { return name_of(error); }
const char *cudaGetErrorName(int error) { return name_of(error); }
const char *cublasGetStatusName(int error) { return name_of(error); }
const char *cublasGetStatusString(int error) { return name_of(error); }
const char *cudnnGetErrorString(int error) { return name_of(error); }
int cublasGetMathMode(void *handle, int *mode) { return *mode = 0, OK; }
size_t cudnnGetVersion(void) { return 92800; }
size_t cudnnGetCudartVersion(void) { return 13000; }

/* Handles are pieces of memory that nothing reads. */
static int handle(void **made) { return *made = calloc(64, sizeof(void *)), OK; }
int cublasCreate_v2(void **made) { return handle(made); }
int cublasLtCreate(void **made) { return handle(made); }
int cublasLtMatmulDescCreate(void **made) { return handle(made); }
int cublasLtMatmulPreferenceCreate(void **made) { return handle(made); }
int cublasLtMatrixLayoutCreate(void **made) { return handle(made); }
int cublasLtMatrixTransformDescCreate(void **made) { return handle(made); }
int cudaStreamCreate(void **made) { return handle(made); }
int cudaStreamCreateWithFlags(void **made) { return handle(made); }
int cudaEventCreate(void **made) { return handle(made); }
int cudaEventCreateWithFlags(void **made) { return handle(made); }
int cudaMemPoolCreate(void **made) { return handle(made); }
int cudaLibraryLoadData(void **made) { return handle(made); }
int cudaLibraryGetKernel(void **made) { return handle(made); }
int cudaGraphInstantiate(void **made) { return handle(made); }
int cudnnCreate(void **made) { return handle(made); }
int cudnnBackendCreateDescriptor(int kind, void **made) { return handle(made); }
/* For an operation there is one engine, without notes and knobs; it needs no memory besides. */
int cudnnBackendGetAttribute(void *of, int name, int type, long wanted, long *found, void *elements) {
  enum { DESCRIPTOR = 15, INT64 = 3, INT32 = 23, KNOBS = 302 };
  int is_there = (type == DESCRIPTOR && name != KNOBS) || type == INT64 || type == INT32;
  if (found)
    *found = is_there;
  if (elements && wanted && type != DESCRIPTOR && is_there)
    memset(elements, 0, type == INT64 ? 8 : 4);
  return OK;
}
