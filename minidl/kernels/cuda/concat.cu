// Copying maps into slices of the channels of larger ones and back: concatenation (notes A1, E5, F1; spec 3.7).
//
// One thread per pack of numbers; 8 bytes moved per number (float32).
#include "packs.cuh"

// y = x, of maps whose pixels lie x_pixel and y_pixel numbers apart
extern "C" __global__ void copy_map(const storage* x, storage* y, int channels, int x_pixel, int y_pixel, int packs,
                                    int width) {
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    int packs_of_pixel = channels / width;
    long long pixel = pack / packs_of_pixel;
    int channel = pack % packs_of_pixel * width;
    x += pixel * x_pixel + channel;
    y += pixel * y_pixel + channel;
    if (width == 4) store_pack(y, load_pack<4>(x));
    else store_pack(y, load_pack<1>(x));
}
