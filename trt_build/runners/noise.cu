// The noise of posepipe/noise.py on the GPU: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
// 1, 2, 3", SC11, section 4.3) and Box-Muller, element for element the same stream. Compiled by NVRTC when an engine is
// loaded (noise_cuda.py); the tests compile it as C++ for the processor.
//
// Uniforms are exact in float32, hence the same bits everywhere. Normals are computed in double and rounded once, as on
// the host, so that they differ at most where two libraries' double logarithms straddle a float32 rounding boundary.

// Which tensor a person gets. 48 bytes, as noise_keys.KEY_DTYPE.
struct NoiseKey {
    unsigned int key[2];        // hash of seed and source
    unsigned int track;
    unsigned int unused;
    unsigned int frame[2];      // low, high word
    unsigned int following[2];  // the next tensor's frame, for noise that turns from one to the next
    double here, there;         // weights of the two tensors: cosine and sine of the turn
};

__device__ static void philox(unsigned int block, const unsigned int *frame, unsigned int track,
                              const unsigned int *key, unsigned int *words) {
    unsigned int c0 = block, c1 = frame[0], c2 = frame[1], c3 = track, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
        const unsigned int high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned int high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

// Strictly inside (0, 1): the top 23 bits of a word, at bin centres.
__device__ static float unit(unsigned int word) { return ((float)(word >> 9) + 0.5f) * 1.1920928955078125e-07f; }

__device__ static void four_normals(unsigned int block, const unsigned int *frame, unsigned int track,
                                    const unsigned int *key, double *out) {
    unsigned int words[4];
    philox(block, frame, track, key, words);
    for (int pair = 0; pair < 4; pair += 2) {
        const double radius = sqrt(-2.0 * log((double)unit(words[pair])));
        const double angle = 6.283185307179586 * (double)unit(words[pair + 1]);
        out[pair] = radius * cos(angle);
        out[pair + 1] = radius * sin(angle);
    }
}

// out: (people, count) float32. One thread makes four neighbouring numbers; the grid's y is the person.
extern "C" __global__ void fill_normals(float *out, const NoiseKey *keys, unsigned int count) {
    const unsigned int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= (count + 3) / 4) return;
    const NoiseKey key = keys[blockIdx.y];
    double here[4], there[4];
    four_normals(block, key.frame, key.track, key.key, here);
    if (key.there != 0.0) {
        four_normals(block, key.following, key.track, key.key, there);
        for (int i = 0; i < 4; ++i) here[i] = key.here * here[i] + key.there * there[i];
    }
    float *mine = out + (unsigned long long)blockIdx.y * count;
    for (unsigned int i = 0; i < 4 && 4 * block + i < count; ++i) mine[4 * block + i] = (float)here[i];
}

// out: (people, count) float32, the uniform stream itself: what the self test compares bit by bit.
extern "C" __global__ void fill_uniforms(float *out, const NoiseKey *keys, unsigned int count) {
    const unsigned int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= (count + 3) / 4) return;
    const NoiseKey key = keys[blockIdx.y];
    unsigned int words[4];
    philox(block, key.frame, key.track, key.key, words);
    float *mine = out + (unsigned long long)blockIdx.y * count;
    for (unsigned int i = 0; i < 4 && 4 * block + i < count; ++i) mine[4 * block + i] = unit(words[i]);
}
