/* The torch engine for hosts without Python: starts one, or takes the one that the process runs,
 * and calls pyemu.torchengine in it.
 *
 * By Python's C API, not by cffi's embedding: that calls Py_InitializeEx, which ends the host's
 * process where Python cannot start, and after a failed import it prints and returns 0, which would
 * be M7EMU_OK. Here a status is what pyemu.torchengine said; where it said nothing, it is an error.
 *
 * Python is never stopped again, as torch cannot be loaded twice: m7emu_close gives back the model.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "m7emu_torch.h"

#include <dlfcn.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERIES_(major, minor) #major "." #minor
#define SERIES(major, minor) SERIES_(major, minor)
static const char series[] = SERIES(PY_MAJOR_VERSION, PY_MINOR_VERSION);

/* Of the text `value` or, where it is null, of the error that Python is in. */
static int32_t explain(int32_t status, const char *what, const char *value, char *text,
                       size_t length) {
  PyObject *error = NULL, *said = NULL;
  const char *kind = "";
  if (!value) {
#if PY_VERSION_HEX >= 0x030C0000
    error = PyErr_GetRaisedException();
#else
    PyObject *type = NULL, *trace = NULL;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
#endif
    kind = error ? Py_TYPE(error)->tp_name : "no error";
    said = error ? PyObject_Str(error) : NULL;
    value = said ? PyUnicode_AsUTF8(said) : NULL;
  }
  snprintf(text, length, "torch engine: %s%s%s%s", what, kind, *kind ? ": " : "",
           value ? value : "");
  Py_XDECREF(said);
  Py_XDECREF(error);
  PyErr_Clear();
  return status;
}

/* The interpreter whose packages are used: of the environment that is activated, or that of the
 * build. */
static void interpreter(char *path, size_t length) {
  const char *const active = getenv("VIRTUAL_ENV");
  if (active && *active) {
    snprintf(path, length, "%s/bin/python", active);
    if (access(path, X_OK) == 0)
      return;
  }
  snprintf(path, length, "%s", M7EMU_PYTHON);
}

/* Python prints before it reports a PYTHONHOME without a library: look there first. */
static int home_is_wrong(char *text, size_t length) {
  const char *const home = getenv("PYTHONHOME");
  char path[4096];
  if (!home || !*home || strchr(home, ':'))
    return 0;
  snprintf(path, sizeof path, "%s/lib/python%s/os.py", home, series);
  if (access(path, R_OK) == 0)
    return 0;
  snprintf(text, length, "PYTHONHOME is '%.300s', which has no lib/python%s/os.py", home, series);
  return 1;
}

/* Leaves the host's signals, locale and standard streams as they are. */
static void initialise(char *text, size_t length) {
  char path[4096];
  PyPreConfig before;
  PyConfig config;
  struct sigaction interrupt;
  sigaction(SIGINT, NULL, &interrupt);
  interpreter(path, sizeof path);
  if (home_is_wrong(text, length))
    return;
  if (access(path, X_OK) != 0) {
    snprintf(text, length, "there is no '%.300s'; activate the environment with pyemu and torch",
             path);
    return;
  }
  PyPreConfig_InitPythonConfig(&before);
  before.parse_argv = 0;
  before.configure_locale = 0;
  before.coerce_c_locale = 0;
  before.utf8_mode = 1;
  PyStatus status = Py_PreInitialize(&before);
  if (!PyStatus_Exception(status)) {
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 0;
    config.configure_c_stdio = 0;
    status = PyConfig_SetBytesString(&config, &config.program_name, path);
    if (!PyStatus_Exception(status))
      status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
  }
  if (PyStatus_Exception(status)) {
    snprintf(text, length, "%s", status.err_msg ? status.err_msg : "no reason is given");
    return;
  }
  Py_XDECREF(PyImport_ImportModule("signal")); /* takes SIGINT when it is first imported */
  PyErr_Clear();
  sigaction(SIGINT, &interrupt, NULL);
  PyEval_SaveThread(); /* any thread may now take the interpreter */
}

/* Python, running. A start that failed is not tried again: half of it may be there. */
static int32_t start(char *text, size_t length) {
  static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
  static int done = 0;
  static char failure[512] = "";
  pthread_mutex_lock(&once);
  if (!done) {
    /* Extension modules look for Python's functions among those of the whole process. */
    dlopen(M7EMU_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    if (!Py_IsInitialized())
      initialise(failure, sizeof failure);
    else if (strncmp(Py_GetVersion(), series, strlen(series)) != 0 ||
             Py_GetVersion()[strlen(series)] != '.')
      snprintf(failure, sizeof failure, "the process runs Python %.20s, this library needs %s",
               Py_GetVersion(), series);
    done = 1;
  }
  pthread_mutex_unlock(&once);
  if (!*failure)
    return M7EMU_OK;
  snprintf(text, length, "torch engine: Python cannot start: %s", failure);
  return M7EMU_ERROR_UNSUPPORTED;
}

/* Status and text out of what pyemu.torchengine returned, (status, object, text); the object, a new
 * reference, through `given`. Takes `result`. */
static int32_t concluded(PyObject *result, PyObject **given, char *text, size_t length) {
  int status = M7EMU_ERROR_INTERNAL;
  PyObject *object = NULL;
  const char *said = "";
  if (!result)
    return explain(M7EMU_ERROR_INTERNAL, "", NULL, text, length);
  if (!PyArg_ParseTuple(result, "iOs", &status, &object, &said)) {
    Py_DECREF(result);
    return explain(M7EMU_ERROR_INTERNAL, "", NULL, text, length);
  }
  if (status != M7EMU_OK)
    explain(status, "", said, text, length);
  else if (given)
    *given = Py_NewRef(object);
  Py_DECREF(result);
  return status;
}

static int32_t opened(const char *path, int32_t device, void **model, const char **metadata,
                      char *text, size_t length) {
  PyObject *found = NULL;
  PyObject *const module = PyImport_ImportModule("pyemu.torchengine");
  if (!module)
    return explain(M7EMU_ERROR_UNSUPPORTED, "import pyemu.torchengine: ", NULL, text, length);
  PyObject *const result = PyObject_CallMethod(module, "open_model", "iNi", M7EMU_ABI_VERSION,
                                               PyUnicode_DecodeFSDefault(path), (int)device);
  Py_DECREF(module);
  const int32_t status = concluded(result, &found, text, length);
  if (status != M7EMU_OK)
    return status;
  PyObject *const told = PyObject_GetAttrString(found, "metadata");
  *metadata = told ? PyUnicode_AsUTF8(told) : NULL;
  Py_XDECREF(told); /* the model holds it */
  if (!*metadata) {
    Py_DECREF(found);
    return explain(M7EMU_ERROR_INTERNAL, "", NULL, text, length);
  }
  *model = found;
  return M7EMU_OK;
}

/* Importing and running torch divides by 0 here and there: a host's floating-point traps are held
 * off meanwhile, in this thread, and are back afterwards. */
static int32_t open_model(const char *path, int32_t device, void **model, const char **metadata,
                          char *text, size_t length) {
  fenv_t traps;
  feholdexcept(&traps);
  int32_t status = start(text, length);
  if (status == M7EMU_OK) {
    const PyGILState_STATE held = PyGILState_Ensure();
    status = opened(path, device, model, metadata, text, length);
    PyGILState_Release(held);
  }
  fesetenv(&traps);
  return status;
}

static int32_t step_any(void *model, const void *block, int single, char *text, size_t length) {
  fenv_t traps;
  feholdexcept(&traps);
  const PyGILState_STATE held = PyGILState_Ensure();
  const int32_t status = concluded(
      PyObject_CallMethod(model, "run", "Ki", (unsigned long long)(uintptr_t)block, single), NULL,
      text, length);
  PyGILState_Release(held);
  fesetenv(&traps);
  return status;
}
static int32_t step(void *model, const m7emu_block *block, char *text, size_t length) {
  return step_any(model, block, 0, text, length);
}
static int32_t step_float(void *model, const m7emu_block_float *block, char *text, size_t length) {
  return step_any(model, block, 1, text, length);
}

static void close_model(void *model) {
  if (!Py_IsInitialized())
    return; /* the process's own Python has ended, and its objects with it */
  fenv_t traps;
  feholdexcept(&traps);
  const PyGILState_STATE held = PyGILState_Ensure();
  Py_DECREF((PyObject *)model);
  PyGILState_Release(held);
  fesetenv(&traps);
}

const m7emu_torch_engine *m7emu_torch(void) {
  static const m7emu_torch_engine engine = {sizeof engine, M7EMU_VERSION, open_model,
                                            step,          step_float,    close_model};
  return &engine;
}
