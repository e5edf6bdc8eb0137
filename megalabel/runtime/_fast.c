/* The operations of `plain.py`, compiled: the same functions, arguments and sums in float64.
 *
 * The arrays may come from a damaged file. Every number that is used as a position is therefore compared with the
 * size of its array where it is used. Only the limited C API of Python 3.11 is used, so that one build serves all
 * later versions. Build without contraction of products and sums (-ffp-contract=off), for the bits of `plain.py`.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define ROWS_PER_ENTRY 8
#define RANGE_BITS 16

enum { OFFSETS, STARTS, FEATURES, ENTRIES, LENGTHS, CHILDREN, VALUES, SCALES, BIAS, N_ARRAYS };
enum { CUBED, SQUARED, SIGMOID };
enum { FLOAT32, BFLOAT16, FLOAT8 };

static float float8[256];

static float wide(uint16_t code) {
    uint32_t bits = (uint32_t)code << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void fill_float8(void) {
    for (int code = 0; code < 256; code++) {
        int exponent = code >> 3 & 15, mantissa = code & 7;
        double size = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
        size = (code & 127) == 127 ? INFINITY : size;
        float8[code] = (float)(code & 128 ? -size : size);
    }
}

/* ---- buffers ------------------------------------------------------------------------------------------------- */

/* A one-dimensional array: 1 if there is one, 0 for None, -1 with an exception. */
static int array_of(PyObject *given, Py_buffer *buffer, const char *sizes, int writable) {
    memset(buffer, 0, sizeof *buffer);
    if (given == Py_None) return 0;
    if (PyObject_GetBuffer(given, buffer, PyBUF_ND | (writable ? PyBUF_WRITABLE : 0)) < 0) return -1;
    if (buffer->ndim != 1 || !strchr(sizes, '0' + (int)buffer->itemsize)) {
        PyBuffer_Release(buffer);
        PyErr_SetString(PyExc_ValueError, "an array of another type");
        return -1;
    }
    return 1;
}

static int64_t length(const Py_buffer *buffer) { return buffer->buf ? buffer->len / buffer->itemsize : 0; }

static void release(Py_buffer *buffers, int n) {
    for (int i = 0; i < n; i++)
        if (buffers[i].obj) PyBuffer_Release(&buffers[i]);
}

/* ---- heaps of the best: the worst is at the root -------------------------------------------------------------- */

typedef struct { double key; int64_t id; } Pair;
typedef struct { Pair *pairs; int64_t size, room; } Heap;

static int before(Pair a, Pair b) { return a.key > b.key || (a.key == b.key && a.id < b.id); }

static void sink(Heap *heap, Pair pair) {
    int64_t place = 0, child;
    while ((child = 2 * place + 1) < heap->size) {
        if (child + 1 < heap->size && before(heap->pairs[child], heap->pairs[child + 1])) child++;
        if (!before(pair, heap->pairs[child])) break;
        heap->pairs[place] = heap->pairs[child];
        place = child;
    }
    heap->pairs[place] = pair;
}

static void offer(Heap *heap, double key, int64_t id) {
    Pair pair = {key, id};
    if (heap->size == heap->room) {
        if (heap->room && before(pair, heap->pairs[0])) sink(heap, pair);
        return;
    }
    int64_t place = heap->size++;
    while (place > 0) {
        int64_t parent = (place - 1) / 2;
        if (!before(heap->pairs[parent], pair)) break;
        heap->pairs[place] = heap->pairs[parent];
        place = parent;
    }
    heap->pairs[place] = pair;
}

static int by_rank(const void *a, const void *b) {
    Pair first = *(const Pair *)a, second = *(const Pair *)b;
    return before(first, second) ? -1 : before(second, first);
}

/* Two lists: ids and scores, best first. */
static PyObject *ranked(Heap *heap, double (*score)(double)) {
    qsort(heap->pairs, (size_t)heap->size, sizeof(Pair), by_rank);
    PyObject *ids = PyList_New(heap->size), *scores = PyList_New(heap->size), *both = NULL;
    for (int64_t i = 0; ids && scores && i < heap->size; i++) {
        PyObject *id = PyLong_FromLongLong(heap->pairs[i].id);
        PyObject *value = PyFloat_FromDouble((double)(float)score(heap->pairs[i].key));
        if (!id || !value || PyList_SetItem(ids, i, id) < 0 || PyList_SetItem(scores, i, value) < 0) goto done;
    }
    if (ids && scores) both = PyTuple_Pack(2, ids, scores);
done:
    Py_XDECREF(ids);
    Py_XDECREF(scores);
    return both;
}

static double itself(double key) { return key; }

/* ---- label trees with sparse weights -------------------------------------------------------------------------- */

typedef struct {
    Py_buffer arrays[N_ARRAYS];
    int64_t ranges, n_chunks, n_nodes, n_rows, n_entries, width;
    int shift;
} Level;

typedef struct {
    Level *levels;
    int64_t *beams;
    Py_buffer order;
    int n_levels, mode;
} Tree;

static void free_tree(Tree *tree) {
    if (!tree) return;
    for (int i = 0; tree->levels && i < tree->n_levels; i++) release(tree->levels[i].arrays, N_ARRAYS);
    release(&tree->order, 1);
    free(tree->levels);
    free(tree->beams);
    free(tree);
}

static void free_capsule(PyObject *capsule) { free_tree(PyCapsule_GetPointer(capsule, "tree")); }

static int read_level(PyObject *given, Level *level, int64_t n_features) {
    static const char *sizes[N_ARRAYS] = {"8", "8", "24", "48", "1", "124", "124", "4", "4"};
    if (!PyTuple_Check(given) || PyTuple_Size(given) != N_ARRAYS) {
        PyErr_SetString(PyExc_ValueError, "a level of another kind");
        return -1;
    }
    for (int i = 0; i < N_ARRAYS; i++) {
        int found = array_of(PyTuple_GetItem(given, i), &level->arrays[i], sizes[i], 0);
        if (found < 0) return -1;
        if (!found && i != LENGTHS && i != SCALES) {
            PyErr_SetString(PyExc_ValueError, "a level without one of its arrays");
            return -1;
        }
    }
    Py_buffer *a = level->arrays;
    int narrow = a[FEATURES].itemsize == 2;
    level->ranges = narrow && n_features > 0 ? (n_features + 65535) >> RANGE_BITS : 1;
    level->shift = narrow ? RANGE_BITS : 31;
    level->n_chunks = length(&a[OFFSETS]) - 1;
    level->n_nodes = length(&a[BIAS]);
    level->n_rows = length(&a[FEATURES]);
    level->n_entries = length(&a[CHILDREN]);
    const int64_t *offsets = a[OFFSETS].buf;
    int fits = level->n_chunks >= 1 && level->n_chunks * level->ranges + 1 == length(&a[STARTS]);
    fits = fits && length(&a[VALUES]) == level->n_entries && (a[LENGTHS].buf == NULL || length(&a[LENGTHS]) == level->n_rows);
    fits = fits && length(&a[ENTRIES]) >= (a[LENGTHS].buf ? (level->n_rows + 7) / ROWS_PER_ENTRY : level->n_rows) + 1;
    fits = fits && (a[SCALES].buf == NULL || length(&a[SCALES]) == level->n_nodes);
    for (int64_t i = 0; fits && i < level->n_chunks; i++) {
        fits = 0 <= offsets[i] && offsets[i] <= offsets[i + 1] && offsets[i + 1] <= level->n_nodes;
        if (offsets[i + 1] - offsets[i] > level->width) level->width = offsets[i + 1] - offsets[i];
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays of a level that do not fit");
        return -1;
    }
    return 0;
}

static PyObject *tree_of(PyObject *self, PyObject *arguments) {
    PyObject *levels, *order, *beams;
    int mode;
    long long n_features;
    if (!PyArg_ParseTuple(arguments, "OOOiL", &levels, &order, &beams, &mode, &n_features)) return NULL;
    Tree *tree = calloc(1, sizeof *tree);
    Py_ssize_t n = PySequence_Size(levels);
    if (!tree || n < 1) goto failed;
    tree->mode = mode;
    tree->levels = calloc((size_t)n, sizeof *tree->levels);
    tree->beams = calloc((size_t)n, sizeof *tree->beams);
    if (!tree->levels || !tree->beams) goto failed;
    tree->n_levels = (int)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *level = PySequence_GetItem(levels, i);
        int read = level ? read_level(level, &tree->levels[i], n_features) : -1;
        Py_XDECREF(level);
        if (read < 0) goto failed;
    }
    if (PySequence_Size(beams) != n - 1) goto failed;
    for (Py_ssize_t i = 0; i + 1 < n; i++) {
        PyObject *beam = PySequence_GetItem(beams, i);
        tree->beams[i] = beam ? PyLong_AsLongLong(beam) : -1;
        Py_XDECREF(beam);
        if (tree->beams[i] < 1) goto failed;
    }
    if (array_of(order, &tree->order, "8", 0) < 1) goto failed;
    if (length(&tree->order) != tree->levels[n - 1].n_nodes) goto failed;
    return PyCapsule_New(tree, "tree", free_capsule);
failed:
    free_tree(tree);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "levels, beams and labels of a tree do not fit");
    return NULL;
}

static int64_t feature_at(const Level *level, int64_t row) {
    const Py_buffer *features = &level->arrays[FEATURES];
    return features->itemsize == 4 ? ((const int32_t *)features->buf)[row] : ((const uint16_t *)features->buf)[row];
}

static int64_t entry_at(const Level *level, int64_t i) {
    const Py_buffer *entries = &level->arrays[ENTRIES];
    return entries->itemsize == 4 ? (int64_t)((const uint32_t *)entries->buf)[i] : ((const int64_t *)entries->buf)[i];
}

/* Adds x times the weights of a row to the scores of the n children of a chunk; -1 for a position out of range. */
static int add_row(const Level *level, int64_t row, double x, double *scores, int64_t n) {
    const uint8_t *lengths = level->arrays[LENGTHS].buf;
    int64_t first, last;
    if (lengths) {
        first = entry_at(level, row / ROWS_PER_ENTRY);
        for (int64_t other = row - row % ROWS_PER_ENTRY; other < row; other++) first += lengths[other] + 1;
        last = first + lengths[row] + 1;
    } else {
        first = entry_at(level, row);
        last = entry_at(level, row + 1);
    }
    if (first < 0 || first > last || last > level->n_entries) return -1;
    const Py_buffer *children = &level->arrays[CHILDREN], *values = &level->arrays[VALUES];
    for (int64_t i = first; i < last; i++) {
        int64_t child = children->itemsize == 1   ? ((const uint8_t *)children->buf)[i]
                        : children->itemsize == 2 ? ((const uint16_t *)children->buf)[i]
                                                  : ((const int32_t *)children->buf)[i];
        double weight = values->itemsize == 4   ? ((const float *)values->buf)[i]
                        : values->itemsize == 2 ? wide(((const uint16_t *)values->buf)[i])
                                                : ((const int8_t *)values->buf)[i];
        if (child < 0 || child >= n) return -1;
        scores[child] += weight * x;
    }
    return 0;
}

/* The scores of the n children of a chunk for a text. */
static int score_chunk(const Level *level, int64_t chunk, const int32_t *columns, const float *values, int64_t m,
                       double *scores, int64_t n, int64_t node) {
    const float *bias = level->arrays[BIAS].buf, *scales = level->arrays[SCALES].buf;
    const int64_t *starts = level->arrays[STARTS].buf;
    int64_t at = 0, end = 0, part = -1;
    for (int64_t i = 0; i < n; i++) scores[i] = scales ? 0.0 : bias[node + i];
    for (int64_t i = 0; i < m; i++) {
        int64_t own = columns[i] >> level->shift, feature = columns[i] - (own << level->shift);
        if (own != part) {
            part = own;
            if (part < 0 || part >= level->ranges) return -1;
            at = starts[chunk * level->ranges + part];
            end = starts[chunk * level->ranges + part + 1];
            if (at < 0 || at > end || end > level->n_rows) return -1;
        }
        int64_t high = end;
        while (at < high) {
            int64_t middle = at + (high - at) / 2;
            if (feature_at(level, middle) < feature) at = middle + 1;
            else high = middle;
        }
        if (at < end && feature_at(level, at) == feature && add_row(level, at, values[i], scores, n) < 0) return -1;
    }
    if (scales)
        for (int64_t i = 0; i < n; i++) scores[i] = (double)bias[node + i] + (double)scales[node + i] * scores[i];
    return 0;
}

static double log_score(double z, int mode) {
    if (mode == SIGMOID) return z >= 0 ? -log1p(exp(-z)) : z - log1p(exp(z));
    double short_of = 1.0 - z;
    if (short_of <= 0.0) return 0.0;
    return mode == CUBED ? -short_of * short_of * short_of : -short_of * short_of;
}

/* Fills `below` with the best children of the nodes in `above`; -1 for a damaged number. */
static int descend(const Level *level, const Heap *above, Heap *below, const int64_t *ids, int mode,
                   const int32_t *columns, const float *values, int64_t m, double *scores) {
    const int64_t *offsets = level->arrays[OFFSETS].buf;
    for (int64_t i = 0; i < above->size; i++) {
        double key = above->pairs[i].key;
        int64_t chunk = above->pairs[i].id;
        if (chunk < 0 || chunk >= level->n_chunks) return -1;
        if (below->size == below->room && key < below->pairs[0].key) continue; /* a child's key is at most its parent's */
        int64_t node = offsets[chunk], n = offsets[chunk + 1] - node;
        if (node < 0 || n < 0 || node + n > level->n_nodes || n > level->width) return -1;
        if (score_chunk(level, chunk, columns, values, m, scores, n, node) < 0) return -1;
        for (int64_t j = 0; j < n; j++) offer(below, key + log_score(scores[j], mode), ids ? ids[node + j] : node + j);
    }
    return 0;
}

static PyObject *search(PyObject *self, PyObject *arguments) {
    PyObject *capsule, *columns, *values, *found = NULL;
    long long k;
    Py_buffer x[2];
    memset(x, 0, sizeof x);
    Heap heaps[2] = {{0}, {0}};
    double *scores = NULL;
    if (!PyArg_ParseTuple(arguments, "OOOL", &capsule, &columns, &values, &k)) return NULL;
    Tree *tree = PyCapsule_GetPointer(capsule, "tree");
    if (!tree || array_of(columns, &x[0], "4", 0) < 1 || array_of(values, &x[1], "4", 0) < 1) goto done;
    int64_t most = 1, width = 1, m = length(&x[0]);
    for (int i = 0; i < tree->n_levels; i++) {
        Level *level = &tree->levels[i];
        int64_t room = i + 1 < tree->n_levels ? tree->beams[i] : k;
        room = room < level->n_nodes ? room : level->n_nodes;
        most = room > most ? room : most;
        width = level->width > width ? level->width : width;
    }
    for (int i = 0; i < 2; i++) heaps[i].pairs = malloc((size_t)most * sizeof(Pair));
    scores = malloc((size_t)width * sizeof *scores);
    if (!heaps[0].pairs || !heaps[1].pairs || !scores) {
        PyErr_NoMemory();
        goto done;
    }
    int bad = m != length(&x[1]), last = 0;
    Py_BEGIN_ALLOW_THREADS
    heaps[0].pairs[0] = (Pair){0.0, 0};
    heaps[0].size = 1;
    for (int i = 0; !bad && i < tree->n_levels; i++) {
        Level *level = &tree->levels[i];
        int is_last = i + 1 == tree->n_levels;
        int64_t room = is_last ? k : tree->beams[i];
        Heap *above = &heaps[i % 2], *below = &heaps[(i + 1) % 2];
        below->size = 0;
        below->room = room < level->n_nodes ? room : level->n_nodes;
        qsort(above->pairs, (size_t)above->size, sizeof(Pair), by_rank); /* the best first, so that chunks are skipped */
        bad = descend(level, above, below, is_last ? tree->order.buf : NULL, tree->mode, x[0].buf, x[1].buf, m, scores);
        last = (i + 1) % 2;
    }
    Py_END_ALLOW_THREADS
    if (bad) PyErr_SetString(PyExc_ValueError, "a number that points outside of its array");
    else found = ranked(&heaps[last], exp);
done:
    for (int i = 0; i < 2; i++) free(heaps[i].pairs);
    free(scores);
    release(x, 2);
    return found;
}

/* ---- dense tables --------------------------------------------------------------------------------------------- */

/* x · the numbers from `at` on, in float64; eight sums, which compilers put into vectors. */
static double dot(const void *table, int kind, int64_t at, const double *x, int64_t dim) {
    double sums[8] = {0};
    int64_t i = 0;
    if (kind == FLOAT32) {
        const float *row = (const float *)table + at;
        for (; i + 8 <= dim; i += 8)
            for (int j = 0; j < 8; j++) sums[j] += (double)row[i + j] * x[i + j];
        for (; i < dim; i++) sums[0] += (double)row[i] * x[i];
    } else if (kind == BFLOAT16) {
        const uint16_t *row = (const uint16_t *)table + at;
        for (; i + 8 <= dim; i += 8)
            for (int j = 0; j < 8; j++) sums[j] += (double)wide(row[i + j]) * x[i + j];
        for (; i < dim; i++) sums[0] += (double)wide(row[i]) * x[i];
    } else {
        const uint8_t *row = (const uint8_t *)table + at;
        for (; i + 8 <= dim; i += 8)
            for (int j = 0; j < 8; j++) sums[j] += (double)float8[row[i + j]] * x[i + j];
        for (; i < dim; i++) sums[0] += (double)float8[row[i]] * x[i];
    }
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static float finished(double total, int64_t row, const Py_buffer *bias, const Py_buffer *exponents) {
    if (exponents->buf) total = ldexp(total, ((const int8_t *)exponents->buf)[row]);
    return (float)(bias->buf ? total + ((const float *)bias->buf)[row] : total);
}

static double *doubles(const Py_buffer *x) {
    double *wide_x = malloc((size_t)(length(x) + 1) * sizeof *wide_x);
    for (int64_t i = 0; wide_x && i < length(x); i++) wide_x[i] = ((const float *)x->buf)[i];
    return wide_x;
}

static const char *table_sizes(int kind) { return kind == FLOAT32 ? "4" : kind == BFLOAT16 ? "2" : "1"; }

static PyObject *beyond(void) {
    PyErr_SetString(PyExc_ValueError, "rows beyond the end of a table");
    return NULL;
}

static PyObject *dots(PyObject *self, PyObject *arguments) {
    PyObject *given[5], *done = NULL;
    int kind;
    long long first;
    Py_buffer a[5];
    memset(a, 0, sizeof a);
    double *x = NULL;
    if (!PyArg_ParseTuple(arguments, "OiOOOLO", &given[0], &kind, &given[1], &given[2], &given[3], &first, &given[4]))
        return NULL;
    if (array_of(given[0], &a[0], table_sizes(kind), 0) < 1 || array_of(given[1], &a[1], "4", 0) < 1 ||
        array_of(given[2], &a[2], "4", 0) < 0 || array_of(given[3], &a[3], "1", 0) < 0 ||
        array_of(given[4], &a[4], "4", 1) < 1)
        goto end;
    int64_t dim = length(&a[1]), n = length(&a[4]), rows = dim ? length(&a[0]) / dim : 0;
    if (dim < 1 || first < 0 || first > rows || n > rows - first || (a[2].buf && length(&a[2]) < first + n) ||
        (a[3].buf && length(&a[3]) < first + n)) {
        beyond();
        goto end;
    }
    if (!(x = doubles(&a[1]))) {
        PyErr_NoMemory();
        goto end;
    }
    float *out = a[4].buf;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < n; i++)
        out[i] = finished(dot(a[0].buf, kind, (first + i) * dim, x, dim), first + i, &a[2], &a[3]);
    Py_END_ALLOW_THREADS
    done = Py_NewRef(Py_None);
end:
    free(x);
    release(a, 5);
    return done;
}

static int64_t input_at(const Py_buffer *inputs, int64_t i) {
    return inputs->itemsize == 1   ? ((const uint8_t *)inputs->buf)[i]
           : inputs->itemsize == 2 ? ((const int16_t *)inputs->buf)[i]
                                   : ((const int32_t *)inputs->buf)[i];
}

static PyObject *fan_in(PyObject *self, PyObject *arguments) {
    PyObject *given[6], *done = NULL;
    int kind;
    long long fan, group;
    Py_buffer a[6]; /* table, inputs, x, bias, exponents, out */
    memset(a, 0, sizeof a);
    double *x = NULL, *seen = NULL;
    if (!PyArg_ParseTuple(arguments, "OiOLLOOOO", &given[0], &kind, &given[1], &fan, &group, &given[2], &given[3],
                          &given[4], &given[5]))
        return NULL;
    if (array_of(given[0], &a[0], table_sizes(kind), 0) < 1 || array_of(given[1], &a[1], "124", 0) < 1 ||
        array_of(given[2], &a[2], "4", 0) < 1 || array_of(given[3], &a[3], "4", 0) < 0 ||
        array_of(given[4], &a[4], "1", 0) < 0 || array_of(given[5], &a[5], "4", 1) < 1)
        goto end;
    int64_t n = length(&a[5]), dim = length(&a[2]), bad = 0;
    if (fan < 1 || group < 1 || n > length(&a[0]) / fan || (n + group - 1) / group > length(&a[1]) / fan ||
        (a[3].buf && length(&a[3]) < n) || (a[4].buf && length(&a[4]) < n)) {
        beyond();
        goto end;
    }
    x = doubles(&a[2]);
    seen = calloc((size_t)fan, sizeof *seen);
    if (!x || !seen) {
        PyErr_NoMemory();
        goto end;
    }
    float *out = a[5].buf;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t row = 0; row < n && !bad; row++) {
        for (int64_t i = 0; row % group == 0 && i < fan; i++) {
            int64_t input = input_at(&a[1], row / group * fan + i);
            if (input < 0 || input >= dim) bad = 1;
            else seen[i] = x[input];
        }
        out[row] = finished(dot(a[0].buf, kind, row * fan, seen, fan), row, &a[3], &a[4]);
    }
    Py_END_ALLOW_THREADS
    if (bad) PyErr_SetString(PyExc_ValueError, "an input that the encoder does not have");
    else done = Py_NewRef(Py_None);
end:
    free(x);
    free(seen);
    release(a, 6);
    return done;
}

static PyObject *add_rows(PyObject *self, PyObject *arguments) {
    PyObject *given[4], *done = NULL;
    Py_buffer a[4]; /* table, rows, weights, out */
    memset(a, 0, sizeof a);
    if (!PyArg_ParseTuple(arguments, "OOOO", &given[0], &given[1], &given[2], &given[3])) return NULL;
    if (array_of(given[0], &a[0], "4", 0) < 1 || array_of(given[1], &a[1], "8", 0) < 1 ||
        array_of(given[2], &a[2], "4", 0) < 1 || array_of(given[3], &a[3], "8", 1) < 1)
        goto end;
    int64_t dim = length(&a[3]), rows = dim ? length(&a[0]) / dim : 0;
    double *out = a[3].buf;
    if (length(&a[1]) != length(&a[2])) {
        beyond();
        goto end;
    }
    for (int64_t i = 0; i < length(&a[1]); i++) {
        int64_t row = ((const int64_t *)a[1].buf)[i];
        double weight = ((const float *)a[2].buf)[i];
        if (row < 0 || row >= rows) {
            beyond();
            goto end;
        }
        const float *values = (const float *)a[0].buf + row * dim;
        for (int64_t j = 0; j < dim; j++) out[j] += weight * values[j];
    }
    done = Py_NewRef(Py_None);
end:
    release(a, 4);
    return done;
}

static PyObject *largest(PyObject *self, PyObject *arguments) {
    PyObject *given[2], *found = NULL;
    long long k;
    Py_buffer a[2]; /* scores, ids */
    memset(a, 0, sizeof a);
    Heap heap = {0};
    if (!PyArg_ParseTuple(arguments, "OLO", &given[0], &k, &given[1])) return NULL;
    if (array_of(given[0], &a[0], "4", 0) < 1 || array_of(given[1], &a[1], "8", 0) < 0) goto end;
    const float *scores = a[0].buf;
    const int64_t *ids = a[1].buf;
    int64_t n = length(&a[0]);
    int bad = ids && length(&a[1]) != n;
    heap.room = k < 0 ? 0 : k < n ? k : n;
    if (!(heap.pairs = malloc((size_t)(heap.room + 1) * sizeof(Pair)))) {
        PyErr_NoMemory();
        goto end;
    }
    for (int64_t i = 0; i < n && !bad; i++) {
        if (!isfinite(scores[i])) bad = 1;
        else if (heap.size < heap.room || (heap.room && scores[i] >= heap.pairs[0].key)) offer(&heap, scores[i], ids ? ids[i] : i);
    }
    if (bad) PyErr_SetString(PyExc_ValueError, "scores that are NaN or infinite");
    else found = ranked(&heap, itself);
end:
    free(heap.pairs);
    release(a, 2);
    return found;
}

static PyMethodDef functions[] = {
    {"tree", tree_of, METH_VARARGS, "A label tree for `search`; see plain.tree."},
    {"search", search, METH_VARARGS, "The k best labels that the beam reaches; see plain.search."},
    {"dots", dots, METH_VARARGS, "Products of rows with a vector; see plain.dots."},
    {"fan_in", fan_in, METH_VARARGS, "Scores of labels with few inputs; see plain.fan_in."},
    {"add_rows", add_rows, METH_VARARGS, "Adds weighted rows of a table; see plain.add_rows."},
    {"largest", largest, METH_VARARGS, "The k largest scores; see plain.largest."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fast(void) {
    PyObject *made = PyModule_Create(&module);
    fill_float8();
    if (made && PyModule_AddIntConstant(made, "VERSION", VERSION) < 0) Py_CLEAR(made);
    return made;
}
