// needs: threads
/// Hears events in an endless stream as an audio plug-in would, in a callback of 128 samples. The network learns on
/// whole recordings, all frames at once; in the callback it steps over a ring of what it has heard, to the same result.

#include "../../tests/support/allocations.hpp"
#include "../support/classifier.hpp"
#include "../support/report.hpp"
#include "../support/save_picture.hpp"
#include "../support/strips.hpp"
#include "model.hpp"

using namespace streaming_audio;
using namespace support;

namespace {

/// The F1, in per cent, of calling events the frames whose `signal(recording)` is above a threshold, whichever is best.
template <class Signal>
double best_f1(const std::vector<Sounds>& recordings, Signal&& signal) {
    Eigen::ArrayXf right = Eigen::ArrayXf::Zero(100), wrong = right;
    for (const Sounds& sounds : recordings) {
        const Eigen::ArrayXf strength = signal(sounds), there = sounds.is_event();
        for (int i = 0; i < 100; ++i) {
            const Eigen::ArrayXf found = (strength > 0.01f * static_cast<float>(i)).cast<float>();
            right[i] += 2 * (found * there).sum(), wrong[i] += (found - there).abs().sum();
        }
    }
    return 100 * static_cast<double>((right / (right + wrong)).maxCoeff());
}
double f1_of(const Model& model, const std::vector<Sounds>& recordings) {
    return best_f1(recordings, [&, tape = Model::Tape()](const Sounds& sounds) mutable -> Eigen::VectorXf {
        model.forward(sounds, tape);
        return 1 - tape.log_p.col(nothing).array().exp();
    });
}
/// Of loudness over that of the opening noise, with the smoothing that suits these recordings best.
double f1_of_loudness(const std::vector<Sounds>& recordings) {
    double best = 0;
    for (const float smoothing : {1.f, 0.3f, 0.1f, 0.03f})
        best = std::max(best, best_f1(recordings, [&](const Sounds& sounds) {
                            Eigen::VectorXf loud =
                                sounds.frames.rowwise().mean().array() - sounds.frames.middleRows(4, 60).mean();
                            for (Index i = 1; i < loud.size(); ++i)
                                loud[i] = loud[i - 1] + smoothing * (loud[i] - loud[i - 1]);
                            return loud;
                        }));
    return best;
}

/// Plays a recording to a listener, block by block, and compares with all frames at once.
void stream(const Model& model, const Sounds& sounds, Report& report) {
    Model::Tape at_once;
    model.forward(sounds, at_once);
    Listener listener(model);
    float worst = 0;
    int allocations = 0;
    std::vector<double> times(sounds.labels.size());
    for (Index i = 0; i < at_once.log_p.rows(); ++i) {
        const int before = attend::test::allocations;
        const auto start = std::chrono::steady_clock::now();
        const Rows<float>& log_p = listener.hear(sounds.block(i));
        times[static_cast<std::size_t>(i)] =
            std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
        if (i > 0) allocations += attend::test::allocations - before;
        worst = std::max(worst, (log_p.array().exp() - at_once.log_p.row(i).array().exp()).abs().maxCoeff());
    }
    std::ranges::sort(times);
    std::cout << "the callback, of " << block_size << " samples: median " << times[times.size() / 2] << " us, worst "
              << times.back() << " us of the " << 1e6 / frames_a_second << " us that it has\n\n";
    report(worst < 1e-4f, "a step at a time it hears what it hears all at once, to " +
                              Report::number(static_cast<double>(worst)) + " of a probability");
    report(allocations == 0, "the callback takes nothing from the heap");
}

/// A recording, what is in it and what is heard; and where each head looks right behind a pair of knocks.
void draw(std::ostream& out, const Model& model, const Sounds& sounds) {
    const Index frames = sounds.frames.rows(), first = sounds.first(double_knock) + 9 - window;
    Model::Tape tape;
    Rows<float> weights(heads, frames);
    model.forward(sounds, tape, weights, attend::query_rows({first + window - 1}));
    weights.array().colwise() /= weights.rowwise().maxCoeff().array().eval();
    const Rows<float> loud = (sounds.frames.transpose().colwise().reverse().array() - sounds.frames.mean()) / 1.2f;
    const Rows<float> heard = tape.log_p.rightCols(kinds - 1).array().exp().transpose();
    Rows<float> there = Rows<float>::Zero(kinds, frames);
    for (Index i = 0; i < frames; ++i) there(sounds.labels[static_cast<std::size_t>(i)], i) = 1;
    const auto latest = [&](const Rows<float>& rows) { return rows.middleCols(first, window); };

    const std::vector<std::string> pitches{"5 kHz", "to", "150 Hz"}, names(kind_names.begin() + 1, kind_names.end());
    StripChart all{"What is heard in a stream of sound",
                   "blue: loudness, and how probable an event is called; orange: what is there",
                   {{pitches, loud, 8}, {names, heard}, {names, there.bottomRows(kinds - 1), 18, true}},
                   15};
    for (int i = 0; i < 6; ++i) all.ticks.emplace_back(i * frames_a_second, std::to_string(i) + " s");
    StripChart look{"Where its heads look in the last third of a second, right behind the second of two knocks",
                    "time before now; each head's largest weight is dark",
                    {{pitches, latest(loud), 8}, {{"head 1", "head 2", "head 3", "head 4"}, latest(weights)}}};
    for (int ago = 300; ago >= 0; ago -= 100)
        look.ticks.emplace_back(window - ago * frames_a_second / 1000, std::to_string(-ago) + " ms");
    draw_strip_charts(out, "Sounds, what is heard in them, and where the network looks", {all, look});
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "Whistles that rise or fall, and knocks in pairs, among steady whistles, single knocks and noise:\n";
    const int steps = options.brief ? 150 : 600;
    const Model model = train_classifier<Sounds>(Model(window, Random(options.seed)), steps, options);
    Random random(1'000'032);
    std::vector<Sounds> held_out;
    for (int i = 0; i < (options.brief ? 6 : 30); ++i) held_out.emplace_back(random, 6);
    const double heard = f1_of(model, held_out), loudness = f1_of_loudness(held_out);
    std::cout << std::fixed << std::setprecision(1) << "\nF1 of event or none, in held-out recordings: " << heard
              << " %; of loudness, at best: " << loudness << " %\n";
    save_picture(options.picture, "what it hears and where it looks",
                 [&](std::ostream& out) { draw(out, model, held_out.front()); });
    if (!options.brief) {
        const Model deaf = train_classifier<Sounds>(Model(1, Random(options.seed)), steps, options);
        std::cout << "that of the same network, without a past: " << f1_of(deaf, held_out) << " %\n";
    }

    Report report;
    stream(model, Sounds(random, options.brief ? 4 : 60), report);
    const double margin = options.brief ? 5 : 25;
    report(heard > loudness + margin, "it beats loudness by more than " + Report::number(margin) + " points of F1");
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("streaming_audio: hears events in an endless stream, in an audio callback over a ring cache.\n"),
        [&] { return read_gallery_options(count, words, "streaming_audio", 1e-2); }, run);
}
