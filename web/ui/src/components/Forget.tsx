// Forgetting what is gone for good. The server refuses what would come straight
// back, and says where to remove it.
import { useState } from 'preact/hooks';
import { forgetMachine, forgetTarget } from '../api/clanmon';
import { refresh } from '../state/clock';
import { go, href } from '../state/location';
import { toast } from '../state/toast';

function Forget({ what, run, done }: { what: string; run: () => Promise<unknown>; done: () => void }) {
  const [step, setStep] = useState<'' | 'sure' | 'busy'>('');
  const [error, setError] = useState('');
  const click = async () => {
    if (step === '') return setStep('sure');
    setStep('busy');
    try {
      await run();
      toast('Forgotten');
      done();
      refresh();
    } catch (e) {
      setError((e as Error).message);
      setStep('');
    }
  };
  return (
    <>
      <button
        type="button"
        class="btn"
        disabled={step === 'busy'}
        title="Stop scraping it and take it off the list; stored samples stay"
        onClick={() => void click()}
      >
        {step ? 'Forget now?' : `Forget ${what}`}
      </button>
      {error && (
        <span class="status crit wrap" role="alert">
          {error}
        </span>
      )}
    </>
  );
}

export const ForgetMachine = ({ name }: { name: string }) => (
  <Forget what="machine" run={() => forgetMachine(name)} done={() => go(href('/'))} />
);

export const ForgetTarget = ({
  machine,
  job,
  instance,
  done,
}: Record<'machine' | 'job' | 'instance', string> & { done: () => void }) => (
  <Forget what="target" run={() => forgetTarget(machine, job, instance)} done={done} />
);
